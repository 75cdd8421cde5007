"""Does the measurement find what is known? Planted units."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.bases import SUPERPOSED
from study.report.figures.series import in_order, order_of, parts_of
from study.report.figures.words import between, clean, courses, of_rows

_FAMILIES = {"mixture": "as they are", "mixture_rectified": "rectified: mostly exact zeros"}
# those that must lie at chance first, those that need not last
_CONTROLS = (
    "hash",
    "hash_rectified",
    "extremes_exchanged",
    "chance_pooled",
    "permuted",
    "mixture",
    "mixture_rectified",
    "middle_redealt",
    "factor",
    "duplicate",
    "negated",
)


def dose_response(study: Study) -> pd.DataFrame:
    """Mean MIS of planted units against rho, the weight of a visible factor, a row a family, similarity and rho."""
    table = study.tables["controls"]
    family = table["control"].astype(str).str.replace(r"_[0-9.]+$", "", regex=True)
    columns = ["family", "backend", "rho", "n_units", *style.MIS]
    parts = [_pooled(table[family == name].assign(family=name), "rho", study)[columns] for name in _FAMILIES]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def control_levels(study: Study) -> pd.DataFrame:
    """Mean MIS of every other control, one row a similarity."""
    table = study.tables["controls"]
    elsewhere = table["control"].astype(str).str.startswith(("mixture", SUPERPOSED))  # have figures of their own
    rows = table[~elsewhere & table["mis_mean"].notna()]
    return _pooled(rows, "control", study)[["backend", "control", "n_units", *style.MIS]]


def control_order(names: pd.Series) -> pd.Series:
    """Order of controls in figures and tables: kinds together, those expected at chance first."""
    kind = names.astype(str).str.replace(r":.*$|_[0-9.]+$", "", regex=True)  # permuted:NAME, mixture_0.25
    return kind.map(order_of(dict.fromkeys([*_CONTROLS, *kind[kind != "untrained"], *kind])))


def _pooled(rows: pd.DataFrame, by: str, study: Study) -> pd.DataFrame:
    """The rows over all factors, similarities in the study's order."""
    rows = rows[rows["factor"].astype(str) == ""]
    within = control_order(rows[by]) if by == "control" else rows[by]
    return in_order(rows.assign(within=within), backend=study.backends, within=None)


def draw_dose_response(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    families = list(dict.fromkeys(frame["family"]))
    shape = (len(families), 1) if narrow else (1, len(families))
    figure, grid = style.canvas(narrow, 2.7 * shape[0] + 0.3, *shape, share_y=True)
    for family, axes in zip(families, grid.flat, strict=True):
        rows = frame[frame["family"] == family]
        axes.set_ylim(*style.around(frame, *style.MIS, low=style.CHANCE))
        ends = []
        for backend, part in parts_of(rows, "backend"):
            colour, marker = style.backend_style(study, backend)
            style.points_upright(axes, part, "rho", fmt=marker, color=colour, linestyle="-")
            ends.append((part["mis_mean"].iloc[-1], study.called(backend), colour))
        style.chance_line(axes, vertical=False)
        axes.margins(x=0.02)
        axes.xaxis.set_major_locator(FixedLocator(sorted(set(rows["rho"]))))
        axes.set_title(f"mean MIS, units {_FAMILIES[family]}")
        axes.set_xlabel("rho: weight of a visible factor")
        if narrow or axes is grid.flat[-1]:
            style.end_labels(axes, ends, height=2.7)
    style.note_slopes(grid.flat[0], study, frame["backend"])
    return style.with_key(figure, grid.flat[0], narrow)


def alt_dose_response(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[frame["family"] == frame["family"].iloc[0]]
    words = courses(rows.assign(backend=rows["backend"].map(study.called)), "backend", "rho", "rho")
    note = study.footnote(frame["backend"])
    return f"Mean MIS of planted units against rho, one line for each similarity: {words}.{note}"


DOSE_RESPONSE = Drawing("dose_response", dose_response, draw_dose_response, alt_dose_response)


def draw_control_levels(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    controls = list(dict.fromkeys(frame["control"]))
    backends = list(dict.fromkeys(frame["backend"]))
    figure, ((axes,),) = style.canvas(narrow, 1.0 + 0.34 * len(controls))
    names = [control.replace("_", " ").replace(":", ": ") for control in controls]
    heights = style.row_heights(axes, controls, narrow, names)
    for index, backend in enumerate(backends):
        part = frame[frame["backend"] == backend]
        colour, marker = style.backend_style(study, backend)
        shift = 0.24 - 0.48 * index / max(len(backends) - 1, 1)
        rows = part["control"].map(heights) + shift
        style.points_across(axes, part, rows, fmt=marker, color=colour, label=clean(study.called(backend), 18))
    style.note_slopes(axes, study, backends)
    style.rules_between(axes, heights.values())
    style.score_axis(axes, style.around(frame, *style.MIS, low=style.CHANCE), "mean MIS (dashed: chance)")
    return style.with_key(figure, axes, narrow)


def alt_control_levels(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[frame["backend"] == study.lead]
    words = of_rows(rows, lambda row: f"{row.control} {row.mis_mean:.3f}{between(row.mis_low, row.mis_high)}")
    return f"Mean MIS of control units beside the level of chance, 0.5. Under the similarity {study.lead}: {words}."


CONTROL_LEVELS = Drawing("control_levels", control_levels, draw_control_levels, alt_control_levels)

FIGURES = (DOSE_RESPONSE, CONTROL_LEVELS)
