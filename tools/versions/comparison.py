"""Versions of a study side by side: what was chosen, what came out, and by how much it moved.

Numbers come from the results that git keeps with every version; nothing is computed anew but differences to the first one.
Changes of single units come from the unit scores, where DVC's cache has those of both versions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from interpretability.people.slope_status import NOT_IDENTIFIED
from tools.versions.reading import MISSING, Name, Results, Row, flat, number, union

MOST_ROWS = 100  # a longer table shows its largest changes
MOST_MARKED = 40  # rows of a drawn table
CEILINGS = ("V4", "V4w", "mixed", "split_half", "true")  # variants that estimate the same thing, see docs/people.md
LEVELS = {"unit": "units", "unit_within": "units inside a network", "model": "networks"}


@dataclass(frozen=True)
class Cell:
    """`interval` stands below the value, `change` is the difference to the first version; `moved`: it differs.

    `numbers` are low end, value and high end, as far as there are any.
    """

    text: str
    interval: str = ""
    change: str = ""
    moved: bool = False
    numbers: tuple[float | None, float | None, float | None] = field(default=(None, None, None), compare=False)


@dataclass(frozen=True)
class Table:
    """`head` names the columns of the row's name; then comes one column a version."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Cell, ...]], ...]
    note: str = ""
    numeric: bool = True


def shown(value: float | None, *, sign: bool = False) -> str:
    """Whole numbers as they are, others with four digits; a true minus sign."""
    if value is None:
        return MISSING
    text = f"{value:{'+' if sign else ''},.0f}" if value == int(value) else f"{value:{'+' if sign else ''}.4g}"
    return text.replace("-", "−")


def cells(values: Sequence[object], intervals: Sequence[tuple[object, object]] = ()) -> tuple[Cell, ...]:
    """One cell a version: numbers with their difference to the first version's, other values as they are."""
    first, row = number(values[0]), []
    for index, value in enumerate(values):
        this = number(value)
        text = shown(this) if this is not None else MISSING if value is None or intervals else str(value) or "empty"
        low, high = (number(end) for end in intervals[index]) if intervals else (None, None)
        change = ""
        if index and first is not None and this is not None and this != first:
            change = shown(this - first, sign=True)
        interval = "" if low is None or high is None else f"{shown(low)} to {shown(high)}"
        moved = index > 0 and str(value) != str(values[0])
        row.append(Cell(text, interval, change, moved, (low, this, high)))
    return tuple(row)


def compare(results: Sequence[Results], changes: Sequence[pd.DataFrame | None]) -> dict[str, object]:
    """All that the page shows.

    changes: for every version but the first, how the scores of the same units differ from the first version's: backend,
    model, n_units, difference, low, high, spearman; None where the unit scores of either are not at hand.
    """
    first, *others = results
    leads = [name for name in dict.fromkeys(version.lead for version in results) if name]
    networks = _scores(results, "models", ("backend", "model"), "Networks: mean MIS of their units", leads, _ranked)
    kinds = _scores(results, "layer_types", ("backend", "model", "layer_type"), "Layer types: mean MIS", leads)
    params, metrics = [version.params for version in results], [version.metrics for version in results]
    environments = [_environment(version.provenance) for version in results]
    pairs = zip(others, changes, strict=True)
    return {
        "versions": [version.version for version in results],
        "leads": leads,
        "summary": [_summary(first, other) for other in others],
        "stale": [(version.version.name, version.stale) for version in results if version.stale],
        "params": _plain_table("Parameters that differ", "parameter", params, differing=True),
        "metrics": _plain_table("Headline numbers", "number", metrics),
        "agreement": _agreement(results),
        "ceiling": _ceiling(results),
        "models": networks,
        "changes": _changes(changes, leads),
        "unpaired": [other.version.name for other, table in pairs if table is None],
        "strips": {name: strip(table) for name, table in networks.items() if name in leads},
        "layer_types": kinds,
        "controls": _controls(results),
        "environment": _plain_table("Packages and devices that differ", "what", environments, differing=True),
        "outs": _data(results),
        "code": [_code(first, other) for other in others],
    }


def _summary(first: Results, other: Results) -> dict[str, object]:
    """What the first lines say of one version."""
    changed = [name for name in union([first.params, other.params]) if first.params.get(name) != other.params.get(name)]
    orders = [[row["model"] for row in _ordered(version)] for version in (first, other)]
    return {
        "name": other.version.name,
        "params": [(name, first.params.get(name, MISSING), other.params.get(name, MISSING)) for name in changed],
        "mean": cells([version.metrics.get("mis_mean") for version in (first, other)]),
        "order": orders[0] == orders[1],
        "same": sum(first.outs.get(path) == digest for path, digest in other.outs.items()),
        "n_outs": len(other.outs),
    }


def _ranked(row: Row) -> bool:
    """Networks that rankings hold: studied ones, of a training its last checkpoint."""
    return row.get("role") == "study" and number(row.get("last")) == 1


def shared(first: Results, other: Results) -> list[Name]:
    """Similarity and name of the ranked networks that both versions have, in the order of the first."""
    of_first, of_other = (
        [(row["backend"], row["model"]) for row in version.tables["models"] if _ranked(row)]
        for version in (first, other)
    )
    there = set(of_other)
    return [name for name in of_first if name in there]


def _ordered(results: Results) -> list[Row]:
    rows = [row for row in results.tables["models"] if _ranked(row) and row.get("backend") == results.lead]
    return sorted(rows, key=lambda row: (-(number(row.get("mis_mean")) or 0.0), row["model"]))


def _plain_table(
    caption: str, head: str, parts: Sequence[Mapping[str, object]], *, differing: bool = False
) -> Table | None:
    rows = []
    for name in sorted(union(parts)):
        values = [part.get(name) for part in parts]
        if not differing or any(value != values[0] for value in values):
            rows.append(((name,), cells(values)))
    return Table(caption, (head,), tuple(rows)) if rows else None


def _aligned(
    results: Sequence[Results], table: str, names: Sequence[str], keep: Callable[[Row], bool]
) -> dict[Name, list[Row]]:
    """Rows of one table by their name, one a version (empty where it has none), in the order of the versions' files."""
    indexed = [
        {tuple(row.get(name, "") for name in names): row for row in version.tables[table] if keep(row)}
        for version in results
    ]
    return {name: [part.get(name, {}) for part in indexed] for name in union(indexed)}


def _scores(
    results: Sequence[Results],
    table: str,
    names: Sequence[str],
    caption: str,
    leads: Sequence[str],
    keep: Callable[[Row], bool] = lambda row: True,
) -> dict[str, Table]:
    """A table a similarity, leading ones first: mean MIS with its interval, highest of the first version first."""
    aligned = _aligned(results, table, names, keep)
    tables = {}
    for backend in dict.fromkeys([*leads, *(name[0] for name in aligned)]):
        rows = [(name[1:], group) for name, group in aligned.items() if name[0] == backend]
        rows.sort(key=lambda row: -(number(row[1][0].get("mis_mean")) or 0.0))
        if rows:
            made = tuple((name, _with_ends(group, "mis_mean", "mis")) for name, group in rows)
            called = f"{caption}, similarity {backend}{_without_slope([group for _, group in rows], results)}"
            tables[backend] = _cut(Table(called, tuple(names[1:]), made), table)
    return tables


def _without_slope(rows: Sequence[Sequence[Row]], results: Sequence[Results]) -> str:
    """What to know of versions in which answers do not tell the slope of a similarity: their levels compare with none."""
    found = [
        version.version.name
        for place, version in enumerate(results)
        if any(group[place].get("slope_status") == NOT_IDENTIFIED for group in rows)
    ]
    return f" (slope not identified in {', '.join(found)}: levels do not compare)" if found else ""


def _changes(changes: Sequence[pd.DataFrame | None], leads: Sequence[str]) -> dict[str, Table]:
    """A table a similarity, leading ones first: how the same units moved; shaded where the interval leaves out zero."""
    known = [{} if table is None else table.set_index(["backend", "model"]).to_dict("index") for table in changes]
    names, tables = union(known), {}
    for backend in dict.fromkeys([*leads, *(name[0] for name in names)]):
        models = [model for of, model in names if of == backend]
        if models:
            rows = [
                ((model,), (Cell("reference"), *(_moved(rows.get((backend, model))) for rows in known)))
                for model in models
            ]
            caption = f"Change of MIS, unit by unit, similarity {backend}"
            tables[backend] = _cut(Table(caption, ("model",), tuple(rows)), "models")
    return tables


def _moved(row: Mapping[Hashable, Any] | None) -> Cell:
    if row is None:
        return Cell(MISSING)
    low, difference, high = (
        None if value != value else float(value) for value in (row["low"], row["difference"], row["high"])
    )
    interval = "" if low is None or high is None else f"{shown(low, sign=True)} to {shown(high, sign=True)}; "
    ranks = "" if row["spearman"] != row["spearman"] else f", ranks correlate {row['spearman']:.3f}".replace("-", "−")
    moved = low is not None and high is not None and not low <= 0 <= high
    text = f"{interval}{row['n_units']:,} units{ranks}"
    return Cell(shown(difference, sign=True), text, moved=moved, numbers=(low, difference, high))


def _with_ends(group: Sequence[Row], value: str, stem: str) -> tuple[Cell, ...]:
    """Cells of a row, with the interval in its columns stem_low and stem_high."""
    return cells(
        [row.get(value) for row in group], [(row.get(f"{stem}_low"), row.get(f"{stem}_high")) for row in group]
    )


def _cut(table: Table, file: str) -> Table:
    """At most MOST_ROWS rows: those that moved most."""
    if len(table.rows) <= MOST_ROWS:
        return table

    def moved(row: tuple[Name, tuple[Cell, ...]]) -> float:
        values = [cell.numbers[1] for cell in row[1]]
        known = [value for value in values if value is not None]
        return max(known) - min(known) if len(known) == len(values) else float("inf")

    kept = set(sorted(range(len(table.rows)), key=lambda index: -moved(table.rows[index]))[:MOST_ROWS])
    note = f"The {MOST_ROWS} of {len(table.rows):,} rows that moved most; all are in results/tables/{file}.csv of each version."
    return Table(table.caption, table.head, tuple(row for index, row in enumerate(table.rows) if index in kept), note)


@dataclass(frozen=True)
class Strip:
    """A table as marks on one axis; places are in percent of it. A mark is (from, to, at), None where there is none."""

    low: str
    high: str
    rows: tuple[tuple[str, tuple[tuple[float, float, float] | None, ...]], ...]


def strip(table: Table) -> Strip | None:
    """Marks of a table with at most MOST_MARKED rows, on the axis that holds all its numbers; None for other tables."""
    numbers = [number for _, row in table.rows for cell in row for number in cell.numbers if number is not None]
    if not numbers or len(table.rows) > MOST_MARKED:
        return None
    low, high = min(numbers), max(numbers)
    width = (high - low) or 1.0

    def mark(cell: Cell) -> tuple[float, float, float] | None:
        start, at, end = cell.numbers
        if at is None:
            return None
        positions = [
            100 * (value - low) / width for value in (at if start is None else start, at if end is None else end, at)
        ]
        return round(positions[0], 2), round(positions[1], 2), round(positions[2], 2)

    rows = tuple((" ".join(name), tuple(mark(cell) for cell in row)) for name, row in table.rows)
    return Strip(shown(low), shown(high), rows)


def _agreement(results: Sequence[Results]) -> Table | None:
    aligned = _aligned(results, "agreement", ("level", "backend"), lambda row: row.get("units") == "outside_split")
    rows = []
    for level in dict.fromkeys([*LEVELS, *(name[0] for name in aligned)]):
        for (of, backend), group in aligned.items():
            if of == level:
                rows.append(((LEVELS.get(level, level), backend), _with_ends(group, "pearson", "pearson")))
    caption = "Pearson correlation of MIS with human answers, units outside the calibration split"
    return Table(caption, ("of", "similarity"), tuple(rows)) if rows else None


def _ceiling(results: Sequence[Results]) -> Table | None:
    """Ceilings of the variants that estimate one thing, and the share of the leading one that each similarity reaches."""
    names = ("subset", "variant", "backend", "units")
    rows = []
    for (subset, variant, backend, units), group in _aligned(results, "noise_ceiling", names, lambda row: True).items():
        if variant in CEILINGS and units == "all" and not backend:
            values, ends = [row.get("mean") for row in group], [(row.get("low"), row.get("high")) for row in group]
            rows.append(((subset, f"ceiling {variant}"), cells(values, ends)))
        elif any(row.get("share") for row in group):
            rows.append(((subset, f"share of {variant} that {backend} reaches"), _with_ends(group, "share", "share")))
    return Table("Noise ceiling", ("conditions", "what"), tuple(rows)) if rows else None


def _controls(results: Sequence[Results]) -> dict[str, object]:
    """How many controls pass in each version, and those that do not in one of them."""
    names = ("backend", "control", "factor", "rho")
    judged = _aligned(results, "controls", names, lambda row: row.get("passed", "") != "")
    words = {"1": "passed", "0": "FAILED", "": MISSING}
    failing = [
        (name, tuple(Cell(words.get(row.get("passed", ""), MISSING), moved=row.get("passed") == "0") for row in group))
        for name, group in judged.items()
        if any(row.get("passed") == "0" for row in group)
    ]
    counts = [
        tuple(sum(group[index].get("passed") == verdict for group in judged.values()) for verdict in ("1", "0"))
        for index in range(len(results))
    ]
    head, rows = ("similarity", *names[1:]), tuple(failing)
    return {
        "counts": list(zip([version.version.name for version in results], counts, strict=True)),
        "failing": Table("Controls that fail", head, rows, numeric=False) if rows else None,
    }


def _environment(provenance: Mapping[str, Any]) -> dict[str, str]:
    facts = {"python": provenance.get("python", ""), "devices": provenance.get("device_kinds", [])}
    return flat(facts) | flat(provenance.get("packages", {}))


def _data(results: Sequence[Results]) -> Table | None:
    """Digests of the study's inputs, then of every out of a stage."""
    parts = []
    for version in results:
        digests = flat(version.provenance.get("digests", {}))
        inputs = {f"input: {name}": value for name, value in digests.items() if "." not in name}
        parts.append(inputs | dict(version.outs))
    rows = []
    for name in union(parts):
        first, *others = (part.get(name, "") for part in parts)
        marks = (_digest(value, "same" if value == first else "differs", moved=value != first) for value in others)
        rows.append(((name,), (_digest(first), *marks)))
    caption = "Digests of data and results (first 8 characters)"
    return Table(caption, ("what",), tuple(rows), numeric=False) if rows else None


def _digest(value: str, change: str = "", *, moved: bool = False) -> Cell:
    return Cell(value[:8] or MISSING, change=change, moved=moved)


def _code(first: Results, other: Results) -> tuple[str, list[str]]:
    """Files of code that ran in both versions, or in one, and are not the same."""
    differing = [path for path in union([first.code, other.code]) if first.code.get(path) != other.code.get(path)]
    return other.version.name, sorted(differing)
