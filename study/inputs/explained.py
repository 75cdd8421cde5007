"""Texts that explain units, as files bring them: every row of data/external/explanations/*.csv checked before any work.

A file of texts has the columns model, layer, unit, method and text or formula, and may have kind, source and condition. Two
files of the folder have other columns: superclasses.csv (label, superclass), and the list of concepts that explanations.concepts
names. The README.md of the folder describes all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interpretability.errors import InputError
from interpretability.explanations import formulas
from interpretability.schema import NATURAL, UNIT
from study.errors import StudyError
from study.files import casts
from study.files.tables import read_csv, rows_shown, write_csv, write_parquet
from study.files.texts import utf8
from study.files.unread import tell_unread
from study.networks.roster import RosterRow, is_computed

SUPERCLASSES = "superclasses.csv"
TEXT_COLUMNS = [*UNIT, "method", "kind", "text", "formula", "source", "file", "row"]
_NEEDED = (*UNIT, "method")
_KNOWN = (*_NEEDED, "kind", "text", "formula", "source", "condition")
_MOST_OF_NAMES = 100  # signs of the name of a method or source


@dataclass(frozen=True)
class Explained:
    """What the folder holds: texts (TEXT_COLUMNS, sorted by unit and method; `row` is that of the file), superclasses (label,
    superclass), and the concepts of the list, if one is named.
    """

    texts: pd.DataFrame
    superclasses: pd.DataFrame
    concepts: pd.DataFrame

    @property
    def units(self) -> pd.DataFrame:
        """The units that have a text."""
        return self.texts[UNIT].drop_duplicates().reset_index(drop=True)

    def write(self, out: Path) -> None:
        """A file for the units, and a folder for the rest."""
        write_csv(out / "explained_units.csv", self.units)
        folder = out / "explanations"
        folder.mkdir()
        write_parquet(folder / "texts.parquet", self.texts)
        write_csv(folder / SUPERCLASSES, self.superclasses)
        write_parquet(folder / "concepts.parquet", self.concepts)


def read_explained(folder: Path, concepts: str, rows: Sequence[RosterRow], roster: str) -> Explained:
    """All that the folder says. Raises StudyError naming file, row, column, value and what is allowed.

    concepts: name of a list of concepts in the folder, or empty
    rows: of the roster, whose file is called `roster`; its networks, their training steps and its planted controls may have
    texts
    """
    listed = _concept_list(folder, concepts)
    others = {SUPERCLASSES, concepts, "README.md"}
    files = sorted(path for path in folder.glob("*.csv") if path.name not in others and not path.name.startswith("."))
    tell_unread(folder, [*files, *(folder / name for name in others)], [".csv"])
    texts = [pd.DataFrame(columns=TEXT_COLUMNS), *(_texts(path, rows, roster) for path in files)]
    joined = pd.concat(texts, ignore_index=True)
    joined = joined.astype({"unit": np.int64, "row": np.int64}).astype(
        {name: "str" for name in TEXT_COLUMNS if name not in ("unit", "row")}
    )
    _refuse_doubled(folder, joined)
    joined = joined.sort_values([*UNIT, "method"], kind="stable", ignore_index=True)
    return Explained(joined, _superclasses(folder / SUPERCLASSES), listed)


def _texts(path: Path, rows: Sequence[RosterRow], roster: str) -> pd.DataFrame:
    cells = read_csv(path, _NEEDED, text=_KNOWN)
    if unknown := [name for name in cells.columns if name not in _KNOWN]:
        raise StudyError(
            f"{path}: column {', '.join(unknown)} is not known; a file of texts has {', '.join(_KNOWN)} and no other. Rename "
            "or remove it"
        )
    if not {"text", "formula"} & set(cells.columns):
        raise StudyError(f"{path}: neither column text nor formula is there; give one of the two, or both")
    for name in _KNOWN:
        if name not in cells.columns:
            cells[name] = ""
    found = pd.DataFrame(index=cells.index)
    found["model"] = _models(path, cells["model"].str.strip(), rows, roster)
    found["layer"] = cells["layer"].str.strip()
    casts.refuse(path, cells["layer"], found["layer"] == "", "layer", "filled")
    found["unit"] = casts.whole(path, cells["unit"], "unit")
    found["method"] = _name(path, cells["method"], "method")
    casts.refuse(path, cells["method"], found["method"] == "", "method", "filled")
    kinds = cells["kind"].str.strip().str.lower()
    found["kind"] = kinds.where(kinds != "", formulas.SIMPLE)
    known = ", ".join(formulas.KINDS)
    casts.refuse(path, cells["kind"], ~found["kind"].isin(formulas.KINDS), "kind", f"one of {known}, or empty")
    found["text"] = casts.phrases(path, cells["text"], "text", empty=True)
    found["formula"] = cells["formula"].str.strip()
    found["source"] = _name(path, cells["source"], "source")
    condition = cells["condition"].str.strip()
    casts.refuse(path, cells["condition"], ~condition.isin(["", NATURAL]), "condition", f"{NATURAL} or empty")
    found = _with_formulas(path, found)
    return found.assign(file=path.name, row=rows_shown(found))[TEXT_COLUMNS]


def _name(path: Path, cells: pd.Series, name: str) -> pd.Series:
    found = casts.phrases(path, cells, name, empty=True)
    casts.refuse(path, cells, found.str.len() > _MOST_OF_NAMES, name, f"of at most {_MOST_OF_NAMES} signs")
    return found


def _models(path: Path, cells: pd.Series, rows: Sequence[RosterRow], roster: str) -> pd.Series:
    """Names of networks whose units may have texts."""
    studied = [row["name"] for row in rows if row["role"] == "study" and not is_computed(row)]
    planted = [row["name"] for row in rows if row["constructor"] == "control:planted"]
    trained = [re.escape(row["name"]) for row in rows if row["name"] in studied and row["weights"] == "trained"]
    steps = re.compile(rf"(?:{'|'.join(trained)})-step\d+(?:\.\d+)?" if trained else r"(?!)")
    known = {*studied, *planted}
    wrong = [name not in known and not steps.fullmatch(name) for name in cells]
    some = ", ".join([*studied, *planted][:20]) + (", ..." if len(known) > 20 else "")
    casts.refuse(path, cells, np.array(wrong, dtype=bool), "model", f"a network of {roster} ({some})")
    return cells


def _with_formulas(path: Path, texts: pd.DataFrame) -> pd.DataFrame:
    """Texts with formulas in one spelling, and with words where only the formula is given; each is parsed."""
    simple = texts["kind"] == formulas.SIMPLE
    casts.refuse(path, texts["formula"], simple & (texts["formula"] != ""), "formula", "empty where kind is simple")
    casts.refuse(path, texts["text"], simple & (texts["text"] == ""), "text", "filled where kind is simple")
    words, spelled = [], []
    for row, kind, text, formula in zip(rows_shown(texts), texts["kind"], texts["text"], texts["formula"], strict=True):
        try:
            if kind != formulas.SIMPLE:
                formulas.parse(kind, text, formula)  # as it stands, so that a message shows it so
                formula = json.dumps(_spelled(json.loads(formula)), ensure_ascii=False)
            parsed = formulas.parse(kind, text, formula)
        except InputError as error:
            raise StudyError(f"{path}: row {row}: {error}") from None
        if unfit := [concept for concept in formulas.concepts(parsed) if not casts.is_phrase(concept)]:
            raise StudyError(
                f"{path}: row {row}: formula holds the concept {unfit[0][:80]!r}, it must be of visible signs, and not "
                "longer than a text may be"
            )
        words.append(text or formulas.describe(parsed))
        spelled.append(formula)
    return texts.assign(text=words, formula=spelled)


def _spelled(content: Any) -> Any:
    """JSON of a formula with every concept in its one spelling; all texts in it, but for keys, are concepts."""
    if isinstance(content, dict):
        return {key: _spelled(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_spelled(value) for value in content]
    return casts.phrase_of(content) if isinstance(content, str) else content


def _refuse_doubled(folder: Path, texts: pd.DataFrame) -> None:
    """Refuse a second text of one method for a unit, also in another file."""
    second = texts.duplicated([*UNIT, "method"])
    if not second.any():
        return
    row = texts[second].iloc[0]
    same = (texts[[*UNIT, "method"]] == row[[*UNIT, "method"]]).all(axis=1)
    first = texts[same].iloc[0]
    raise StudyError(
        f"{folder / row['file']}: row {row['row']}: unit {row['model']}/{row['layer']}/{row['unit']} has a text of method "
        f"{row['method']!r} already, in row {first['row']} of {first['file']}; a method says one text a unit. Remove "
        "one, or call the method otherwise"
    )


def _superclasses(path: Path) -> pd.DataFrame:
    """Labels and what they belong to; nothing where there is no such file."""
    if not path.is_file():
        return pd.DataFrame(columns=["label", "superclass"], dtype="str")
    cells = read_csv(path, ["label", "superclass"], text=["label", "superclass"])
    found = pd.DataFrame({name: casts.phrases(path, cells[name], name) for name in ("label", "superclass")})
    return found.drop_duplicates().sort_values(["label", "superclass"], kind="stable", ignore_index=True)


def _concept_list(folder: Path, name: str) -> pd.DataFrame:
    """Concepts of a list, one a line, each once; blank lines and lines that start with # are skipped."""
    if not name:
        return pd.DataFrame({"concept": pd.Series(dtype="str")})
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise StudyError(
            f"explanations.concepts is {name!r}, but {folder} holds no such file; it takes the name of a file there, or nothing"
        )
    lines = utf8(path, "text").decode("utf-8").splitlines()
    cells = pd.Series(lines, dtype="str", index=np.arange(len(lines)) - 1)  # line 1 is shown as row 1
    cells = cells[(cells.str.strip() != "") & ~cells.str.startswith("#")]
    if cells.empty:
        raise StudyError(f"{path} lists no concept; write one a line")
    return pd.DataFrame({"concept": sorted(set(casts.phrases(path, cells, "concept")))}, dtype="str")
