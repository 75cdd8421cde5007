"""The form in which the batches of a network run, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping

from study.networks.precisions import counted

PLAIN, GRAPH, COMPILED, PARTLY = "plain", "graph", "compiled", "compiled in part"
_WORDS = {
    COMPILED: "compiled, which changes last bits",
    PARTLY: "compiled for a part of the pictures, which changes last bits",
}


def written(form: str) -> str:
    """A form as files name it: empty where it changes no number, so that these say the same whether batches were recorded."""
    return form if form in (COMPILED, PARTLY) else ""


def forms_words(forms: Mapping[str, str], n: int) -> str:
    """What the report says of n networks of which some ran compiled; nothing where none did."""
    parts = [
        counted([name for name, own in forms.items() if own == form], n, f"ran {words}")
        for form, words in _WORDS.items()
        if form in forms.values()
    ]
    return f"{'; '.join(parts)}." if parts else ""
