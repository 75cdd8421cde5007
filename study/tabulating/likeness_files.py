"""Published tables of how like people networks are, and decisions of both, as the benchmarks publish them.

A table has a row a network: CSV as brain-score.org exports it, or a LaTeX table as model-vs-human writes it
(`benchmark_table_humanlike.tex`). Decisions are the folder `raw-data` of model-vs-human: a folder a data set, and in it CSVs with
the columns subj, object_response, category, condition and imagename, of people (`subject-01`) and of networks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from interpretability.analysis.likeness import DECISION_COLUMNS, UNCONDITIONED
from study.errors import StudyError
from study.files import casts
from study.files.cells import check_columns, read_cells
from study.files.tables import rows_shown
from study.files.texts import utf8

TABLE_COLUMNS = ["called", "measure", "value"]
_NEEDED = ("subj", "object_response", "category", "condition", "imagename")
_PERSON = "subject-"
_NO_VALUE = frozenset(("", "nan", "na", "x", "-", "–"))  # brain-score.org writes X where a network has no score
_MATH = re.compile(r"\$[^$]*\$")
_COMMAND = re.compile(r"\\(?:textbf|textit|emph|underline)\{([^{}]*)\}")


def taken_apart(entry: str) -> tuple[str, str, list[str]]:
    """File, column of the networks' names and columns of values of FILE|COLUMN|COLUMN|..., whose form is checked before."""
    file, model, *values = (part.strip() for part in entry.split("|"))
    return file, model, values


def read_table(path: Path, model: str, values: Sequence[str]) -> pd.DataFrame:
    """TABLE_COLUMNS: every value of a table by network and column, NaN where it has none (empty, NaN or X).

    Raises StudyError naming file, row, column and value: for a missing column, a network without a name or that stands twice, and
    a value that is no number.
    """
    cells = _tex_cells(path) if path.suffix == ".tex" else _csv_cells(path, {model, *values})
    check_columns(path, list(cells.columns), [model, *values])
    if cells.empty:
        raise StudyError(f"{path} has no rows; it needs a row a network")
    names = cells[model].str.strip()
    casts.refuse(path, names, names == "", model, "the name of a network")
    again = names.duplicated()
    if again.any():
        first = rows_shown(names[names == names[again].iloc[0]])[0]
        casts.refuse(path, names, again, model, f"a name that stands once; the first stands in row {first}")
    parts = []
    for column in values:
        text = cells[column].str.strip()
        numbers = casts.numbers(path, text.mask(text.str.casefold().isin(_NO_VALUE), ""), column)
        parts.append(pd.DataFrame({"called": names, "measure": column, "value": numbers}))
    return pd.concat(parts, ignore_index=True)[TABLE_COLUMNS]


def read_decisions(folder: Path) -> pd.DataFrame:
    """DECISION_COLUMNS of all data sets below a folder, in the order of names of files.

    An image is what names the picture, without the trial before it: `0001_cl_s01_cr_oven_40_n04111531_14126.png` and
    `0007_cl_dnn_cr_oven_00_n04111531_14126.png` are one.
    Raises StudyError naming folder, file, row and column.
    """
    if not folder.is_dir():
        raise StudyError(
            f"{folder}: no such folder. stats.likeness.decisions names a folder in data/external/likeness with a folder a data "
            "set, as raw-data of model-vs-human"
        )
    files = {path.name: sorted(path.glob("*.csv")) for path in sorted(folder.iterdir()) if path.is_dir()}
    parts = [_decisions(path, dataset) for dataset, paths in files.items() for path in paths]
    if not parts:
        raise StudyError(
            f"{folder} holds no folder with CSV files; it must hold one a data set, as "
            "cue-conflict/cue-conflict_NETWORK_session-1.csv"
        )
    return pd.concat(parts, ignore_index=True)


def _decisions(path: Path, dataset: str) -> pd.DataFrame:
    cells = _csv_cells(path, {*_NEEDED, *(name.capitalize() for name in _NEEDED)})
    cells.columns = [name.lower() for name in cells.columns]
    check_columns(path, list(cells.columns), _NEEDED)
    twice = [name for name in _NEEDED if list(cells.columns).count(name) > 1]
    if twice:
        raise StudyError(f"{path}: the header names column {', '.join(twice)} twice; remove or rename one of them")
    text = {name: cells[name].str.strip() for name in _NEEDED}
    for name in ("subj", "category", "imagename"):
        casts.refuse(path, text[name], text[name] == "", name, "filled")
    named = text["condition"].mask(text["condition"].str.casefold() == "nan", "")
    condition = "" if dataset in UNCONDITIONED else named.map(_as_benchmark)
    table = {
        "dataset": dataset,
        "condition": condition,
        "subject": text["subj"],
        "person": text["subj"].str.startswith(_PERSON),
        "image": text["imagename"].map(picture_of),
        "category": text["category"],
        "response": text["object_response"],
    }
    return pd.DataFrame(table, columns=DECISION_COLUMNS)


def _as_benchmark(text: str) -> str:
    """A condition as the lists of the benchmark (`LEFT_OUT`) spell it, whose own code reads numbers and truth values.

    >>> [_as_benchmark(text) for text in ("0.60", "0.00", "inf", "true", "c03", "1-10-10")]
    ['0.6', '0', 'inf', 'True', 'c03', '1-10-10']
    """
    if text.casefold() in ("true", "false"):
        return text.capitalize()
    try:
        return f"{float(text):.15g}"  # all digits that a decimal number keeps
    except ValueError:
        return text


def picture_of(name: str) -> str:
    """What names the picture in the name of a trial: all behind its last bar `_`, with the number of an ImageNet class before it.

    >>> picture_of("0000_cl_s01_bw_boat_40_n02951358_5952.JPEG"), picture_of("airplane1-bicycle2.png")
    ('n02951358_5952.JPEG', 'airplane1-bicycle2.png')
    """
    *before, last = name.split("_")
    return f"{before[-1]}_{last}" if before and before[-1].startswith("n0") else last


def _csv_cells(path: Path, known: set[str]) -> pd.DataFrame:
    if not path.is_file():
        raise StudyError(
            f"{path}: no such file. stats.likeness names files in data/external/likeness, whose README.md says more"
        )
    cells, _ = read_cells(path, known)
    return cells


def _tex_cells(path: Path) -> pd.DataFrame:
    r"""Cells of the first LaTeX table of a file: rows of the same length that end in \\, without commands, rules and formulas.

    The index is that of `read_cells`: its row as an editor counts lines, less 2.
    """
    if not path.is_file():
        raise StudyError(
            f"{path}: no such file. stats.likeness names files in data/external/likeness, whose README.md says more"
        )
    rows: dict[int, list[str]] = {}
    for number, line in enumerate(utf8(path, "text").decode("utf-8").splitlines(), start=1):
        row, stop, _ = line.partition("\\\\")
        if stop and "&" in row:
            rows[number] = [_plain(cell) for cell in re.split(r"(?<!\\)&", row)]
        if line.strip().startswith("\\end{tabular"):
            break
    if len(rows) < 2:
        raise StudyError(
            f"{path} holds no LaTeX table with a header and rows; they end in \\\\ and & stands between cells"
        )
    header = next(iter(rows.values()))
    for number, row in rows.items():
        if len(row) != len(header):
            raise StudyError(f"{path}: line {number} has {len(row)} cells, the header has {len(header)}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise StudyError(f"{path}: the header names column {', '.join(twice)} twice; remove or rename one of them")
    lines = list(rows)[1:]
    return pd.DataFrame(
        [rows[number] for number in lines], columns=header, index=[number - 2 for number in lines], dtype="str"
    )


def _plain(cell: str) -> str:
    text = _COMMAND.sub(r"\1", _MATH.sub("", cell))
    return " ".join(re.sub(r"\\([_&%#])", r"\1", text).split())
