"""Does the measurement find what is known? Planted units."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from study.report.figures.base import FigureSpec, Study
from study.report.figures.style import (
    CHANCE,
    MIS,
    around,
    backend_style,
    between,
    canvas,
    chance_line,
    clean,
    end_labels,
    key_above,
    named_rows,
    order_of,
    points_across,
    points_upright,
)

_FAMILIES = {"mixture": "as they are", "mixture_rectified": "rectified: mostly exact zeros"}


def dose_response(study: Study) -> pd.DataFrame:
    """Mean MIS of planted units against rho, the weight of a visible factor, a row a family, similarity and rho."""
    table = study.tables["controls"]
    family = table["control"].astype(str).str.replace(r"_[0-9.]+$", "", regex=True)
    columns = ["family", "backend", "rho", "n_units", "mis_mean", "mis_low", "mis_high"]
    parts = [_pooled(table[family == name].assign(family=name), "rho", study)[columns] for name in _FAMILIES]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def control_levels(study: Study) -> pd.DataFrame:
    """Mean MIS of every other control, one row a similarity."""
    table = study.tables["controls"]
    rows = table[~table["control"].astype(str).str.startswith("mixture") & table["mis_mean"].notna()]
    return _pooled(rows, "control", study)[["backend", "control", "n_units", "mis_mean", "mis_low", "mis_high"]]


# those that must lie at chance first, those that need not last
_CONTROLS = ("hash", "hash_rectified", "permuted", "mixture", "mixture_rectified", "factor", "duplicate", "negated")


def control_places(names: pd.Series) -> pd.Series:
    """Place of each control in figures and tables: kinds together, those expected at chance first."""
    kind = names.astype(str).str.replace(r":.*$|_[0-9.]+$", "", regex=True)  # permuted:NAME, mixture_0.25
    return kind.map(order_of(dict.fromkeys([*_CONTROLS, *kind[kind != "untrained"], *kind])))


def _pooled(rows: pd.DataFrame, by: str, study: Study) -> pd.DataFrame:
    """The rows over all factors, similarities in the study's order."""
    rows = rows[rows["factor"].astype(str) == ""]
    place = rows["backend"].map(order_of(study.backends)).fillna(len(study.backends))
    within = control_places(rows[by]) if by == "control" else rows[by]
    return rows.assign(a=place, b=within).sort_values(["a", "b"], kind="stable", ignore_index=True)


def draw_dose_response(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    families = list(dict.fromkeys(frame["family"]))
    shape = (len(families), 1) if narrow else (1, len(families))
    figure, grid = canvas(narrow, 2.7 * shape[0] + 0.3, *shape, share_y=True)
    for family, axes in zip(families, grid.flat, strict=True):
        rows = frame[frame["family"] == family]
        axes.set_ylim(*around(frame, *MIS, low=CHANCE))
        ends = []
        for backend, part in rows.groupby("backend", sort=False):
            colour, marker = backend_style(study, backend)
            points_upright(axes, part, "rho", fmt=marker, color=colour, linestyle="-")
            ends.append((part["mis_mean"].iloc[-1], backend, colour))
        chance_line(axes, vertical=False)
        axes.margins(x=0.02)
        axes.xaxis.set_major_locator(FixedLocator(sorted(set(rows["rho"]))))
        axes.set_title(f"mean MIS, units {_FAMILIES[family]}")
        axes.set_xlabel("rho: weight of a visible factor")
        if narrow or axes is grid.flat[-1]:
            end_labels(axes, ends, height=2.7)
    return figure


def alt_dose_response(frame: pd.DataFrame, study: Study) -> str:
    words = "; ".join(
        f"{backend} from {part['mis_mean'].iloc[0]:.3f} at rho {part['rho'].iloc[0]:g} to "
        f"{part['mis_mean'].iloc[-1]:.3f} at rho {part['rho'].iloc[-1]:g}"
        for backend, part in frame[frame["family"] == frame["family"].iloc[0]].groupby("backend", sort=False)
    )
    return f"Mean MIS of planted units against rho, one line for each similarity: {words}."


def draw_control_levels(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    controls = list(dict.fromkeys(frame["control"]))
    backends = list(dict.fromkeys(frame["backend"]))
    figure, ((axes,),) = canvas(narrow, 1.0 + 0.34 * len(controls))
    names = [control.replace("_", " ").replace(":", ": ") for control in controls]
    heights = dict(zip(controls, named_rows(axes, names, narrow), strict=True))
    for index, backend in enumerate(backends):
        part = frame[frame["backend"] == backend]
        colour, marker = backend_style(study, backend)
        shift = 0.24 - 0.48 * index / max(len(backends) - 1, 1)
        points_across(
            axes, part, part["control"].map(heights) + shift, fmt=marker, color=colour, label=clean(backend, 18)
        )
    for height in list(heights.values())[:-1]:
        axes.axhline(height - 0.5, color="#eef1f4", linewidth=0.8, zorder=0)
    axes.set_xlim(*around(frame, "mis_mean", "mis_low", "mis_high", low=CHANCE))
    chance_line(axes, vertical=True)
    axes.set_xlabel("mean MIS (dashed: chance)")
    key_above(figure, axes, narrow)
    return figure


def alt_control_levels(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[frame["backend"] == study.lead]
    words = "; ".join(
        f"{row.control} {row.mis_mean:.3f}{between(row.mis_low, row.mis_high)}" for row in rows.itertuples()
    )
    return f"Mean MIS of control units beside the level of chance, 0.5. Under the similarity {study.lead}: {words}."


FIGURES = (
    FigureSpec(
        "dose_response",
        "controls",
        dose_response,
        draw_dose_response,
        alt_dose_response,
        "No figure: this study has no planted mixtures.",
        ("controls",),
    ),
    FigureSpec(
        "control_levels",
        "controls",
        control_levels,
        draw_control_levels,
        alt_control_levels,
        "No figure: this study has no control units.",
        ("controls",),
    ),
)
