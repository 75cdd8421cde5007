"""Names of networks that parameters hold and no network has, refused before any work."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from study.errors import StudyError
from study.inputs.settings import InputParams
from study.networks.roster import RosterRow
from study.networks.similarity import in_first_epoch, steps_of

_WILD = re.compile(r"[*?]")  # any digits, in a pattern of checkpoints
_NAMED = 12  # names that a message shows


def refuse_strangers(params: InputParams, rows: Sequence[RosterRow], where: str) -> None:
    """Raise StudyError with every entry of parameters that names no network of the roster and no checkpoint of its trainings.

    rows: of the roster, as it is written; where: the file of parameters, for errors

    Names in `stats.likeness.names` are looked at where answers come from no table: it may hold other networks.
    """
    known = [row["name"] for row in rows] + steps_of(rows, params.models.training)

    def strange(name: str, *, wild: bool = False) -> bool:
        part = _WILD.sub("1", name) if wild else name
        if in_first_epoch(part, rows, params.models.training):
            return False
        return not any(fnmatchcase(each, name) if wild else each == name for each in known)

    problems: list[str] = []
    for key, entries in _patterns(params).items():
        named = [(entry, entry.split("/")[0]) for entry in entries]
        problems += [
            _told(key, entry, name, known, params, "; * stands for any text")
            for entry, name in named
            if strange(name, wild=True)
        ]
    for key, names in _whole_names(params).items():
        problems += [_told(key, name, name, known, params) for name in names if strange(name)]
    if params.human.source in ("none", "simulated"):
        for entry in params.stats.likeness.names:
            if strange(name := entry.rpartition("=")[2].strip()):
                problems.append(_told("stats.likeness.names", entry, name, known, params))
    if problems:
        raise StudyError("\n  ".join([f"{where} names networks that there are not:", *problems]))


def _patterns(params: InputParams) -> dict[str, Sequence[str]]:
    """Entries NAME or NAME/..., in which * stands for any text, by key."""
    return {
        "activations.keep": params.activations.keep,
        "activations.windows": params.activations.windows,
        "visualisations.units": params.visualisations.units,
        "tasks.one_sided": params.tasks.one_sided,
        "scores.feature_models": params.scores.feature_models,
        "label_free.models": params.label_free.models,
        "label_free.localizability": params.label_free.localizability,
        "explanation_kinds.units": params.explanation_kinds.units,
        "explanations.units": params.explanations.units,
    }


def _whole_names(params: InputParams) -> dict[str, Sequence[str]]:
    return {
        "sensitivity.models": params.sensitivity.models,
        "sensitivity.map_models": params.sensitivity.map_models,
    }


def _told(key: str, entry: str, name: str, known: Sequence[str], params: InputParams, wild: str = "") -> str:
    near = difflib.get_close_matches(name, known, 3)
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    shown = ", ".join(known[:_NAMED]) + (f" and {len(known) - _NAMED} more" if len(known) > _NAMED else "")
    of = "" if name == entry else f"{name!r} "
    which = f"whose network {of}is" if of else "which is"
    return f"{key} names {entry!r}, {which} none of {params.models.roster}{hint}{wild}. Allowed: {shown}"
