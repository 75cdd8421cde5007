"""The form in which the batches of a network run, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping

from study.networks.precisions import counted

PLAIN, GRAPH, COMPILED, PARTLY = "plain", "graph", "compiled", "compiled in part"
_WORDS = {
    COMPILED: "compiled, which changes last bits",
    PARTLY: "compiled for a part of the pictures, which changes last bits",
    GRAPH: "as CUDA graphs, with the bytes of plain batches",
}


def forms_words(forms: Mapping[str, str], n: int) -> str:
    """What the report says of n networks of which some did not run plainly; nothing where all did."""
    parts = [
        counted([name for name, own in forms.items() if own == form], n, f"ran {words}")
        for form, words in _WORDS.items()
        if form in forms.values()
    ]
    return f"{'; '.join(parts)}." if parts else ""
