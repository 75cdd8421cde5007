"""Images made to excite units: whether they do so more than natural ones, and what units score with them as explanations."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from interpretability.schema import BEATS, BELOW, NATURAL, SYNTHETIC, UNIT, UNREACHABLE
from interpretability.statistics import FEWEST_CORRELATED
from study.report.figures import style
from study.report.figures.base import Drawing, Study
from study.report.figures.series import in_order, thinned
from study.report.figures.words import clean, of_parts, rank_correlations, signed

SIDES = {"max": "made to excite", "min": "made not to excite"}
NOT_IN_IMI = "not in IMI"
BOUND = "bound to their place"  # some shift by 3 pixels takes more than half of the best ratio, and all that is beyond nature
STATUSES = {BEATS: "beats nature", BELOW: "below nature", UNREACHABLE: "unreachable"}
KEPT = 0.8  # of an image's ratio: what is lost by a shift counts as little from here on
_COUNTED = {BEATS: "beat nature", BELOW: "lie below nature", UNREACHABLE: "are unreachable"}
_MOST_RATIO = 12.0  # ratios beyond are drawn at the rim


def _networks(study: Study, rows: pd.DataFrame) -> list[str]:
    """Networks of some rows, ranked ones first and in their order, then the others as they come."""
    names = set(rows["model"])
    ranked = [name for name in study.models()["model"] if name in names]
    return [*ranked, *(name for name in dict.fromkeys(rows["model"]) if name not in ranked)]


def made_images(study: Study) -> pd.DataFrame:
    """A row a unit, side and seed set: how far beyond nature the best and the weakest of its made images go.

    ratio: (value - median) / (natural extreme - median), so that 0 is a middling natural picture and 1 the natural extreme.
    """
    rows = study.tables["made_images"]
    rows = in_order(rows, model=_networks(study, rows), layer_index=None, unit=None, seed_set=None, side=SIDES)
    columns = [*UNIT, "side", "seed_set", "status", "ratio_best", "ratio_weakest", "kept_after_shift"]
    columns += ["position_bound", "in_imi"]
    return rows[columns]


def _groups(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Networks and sides that get a row."""
    return list(dict.fromkeys(zip(frame["model"], frame["side"], strict=True)))


def draw_made_images(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    groups = _groups(frame)[: style.MOST_NAMED]
    figure, ((axes,),) = style.canvas(narrow, 1.3 + 0.3 * len(groups))
    marked = set(frame.loc[frame["in_imi"] == 0, "model"])
    names = [f"{model}{'*' if model in marked else ''} {'+' if side == 'max' else '−'}" for model, side in groups]
    heights = style.named_rows(axes, names, narrow)
    for number, (height, (model, side)) in enumerate(zip(heights, groups, strict=True)):
        rows = frame[(frame["model"] == model) & (frame["side"] == side)]
        spread = height + 0.22 * np.linspace(-1, 1, len(rows)) if len(rows) > 1 else np.array([height])
        for (name, words), marker, colour in zip(
            (("ratio_best", "best of the images"), ("ratio_weakest", "weakest")), "o|", style.COLOURS[:2], strict=True
        ):
            values = rows[name].to_numpy(dtype=float).clip(-_MOST_RATIO, _MOST_RATIO)
            label = None if number else words
            axes.plot(values, spread, marker, color=colour, alpha=0.75, markersize=4.5, linestyle="none", label=label)
        style.row_note(axes, height, f"{100 * (rows['status'] == BEATS).mean():.0f} %")
    axes.axvline(1, color=style.MUTED, linewidth=1, linestyle=style.DASHED, zorder=1)
    axes.axvline(0, color=style.RULE, linewidth=1, zorder=1)
    numbers = frame.assign(
        **{name: frame[name].clip(-_MOST_RATIO, _MOST_RATIO) for name in ("ratio_best", "ratio_weakest")}
    )
    axes.set_xlim(*style.around(numbers, "ratio_best", "ratio_weakest", low=0.0, high=1.2))
    if marked:
        axes.plot([], [], linestyle="none", label=f"* {NOT_IN_IMI}")
    axes.set_xlabel(
        "0: middling picture, 1: natural extreme" if narrow else "0: a middling natural picture, 1: the natural extreme"
    )
    return style.with_key(figure, axes, narrow)


def alt_made_images(frame: pd.DataFrame, study: Study) -> str:
    def ratios(of: tuple[str, str], part: pd.DataFrame) -> str:
        reached = part["status"].map(_COUNTED).value_counts(sort=False)
        counts = ", ".join(f"{n} {status}" for status, n in reached.items())
        mark = f", {NOT_IN_IMI}" if (part["in_imi"] == 0).any() else ""
        bound = part["position_bound"].sum()
        counts += f", {bound} {BOUND}" if bound else ""
        medians = f"median ratio {signed(part['ratio_best'].median())} (best), {signed(part['ratio_weakest'].median())} (weakest)"
        return f"{of[0]}{mark}, {SIDES[of[1]]}: {counts}; {medians}"

    words = of_parts(frame, ["model", "side"], ratios)
    return f"How far made images go beyond the natural extreme, a mark a unit and seed set. {words}."


MADE_IMAGES = Drawing("made_images", made_images, draw_made_images, alt_made_images)


def mis_natural_synthetic(study: Study) -> pd.DataFrame:
    """MIS of the same units with natural and with made explanations, leading similarity, with both means and Spearman's ρ."""
    units = study.units.astype(dict.fromkeys(("model", "layer", "condition"), str))
    natural, made = (units[units["condition"] == name] for name in (NATURAL, SYNTHETIC))
    rows = made[[*UNIT, "mis"]].merge(natural[[*UNIT, "mis"]], on=UNIT, suffixes=("", "_base"))
    columns = ["model", "n_units", "spearman", "base_mean", "mean", "mis_base", "mis", "n"]
    parts = [pd.DataFrame(columns=columns)]
    for model in _networks(study, rows):
        own = rows[rows["model"] == model].sort_values(UNIT, kind="stable")
        facts = {
            "n_units": len(own),
            "spearman": own["mis"].corr(own["mis_base"], method="spearman")
            if len(own) >= FEWEST_CORRELATED
            else np.nan,
            "base_mean": own["mis_base"].mean(),
            "mean": own["mis"].mean(),
        }
        parts.append(thinned(own, ["model"], "mis_base", "mis").assign(**facts)[columns])
    return pd.concat(parts[1:] or parts, ignore_index=True)


def draw_mis_natural_synthetic(frame: pd.DataFrame, study: Study, narrow: bool) -> Figure:
    networks = list(dict.fromkeys(frame["model"]))[: style.MOST_SMALL]
    figure, grid = style.panels(narrow, len(networks), 2.0, columns=3, on_phone=2, share_y=True, extra=0.2)
    marked = outside_imi(study)
    for model, axes in zip(networks, grid, strict=True):
        rows = frame[frame["model"] == model]
        style.dots(axes, rows, "mis_base", "mis", color=style.COLOURS[0])
        style.equal_line(axes, style.around(frame, "mis_base", "mis"))
        star = "*" if model in marked else ""
        axes.set_title(f"{clean(model, 12 if narrow else 14)}{star}: ρ {signed(rows['spearman'].iloc[0])}")
    if marked & set(networks):
        grid[0].plot([], [], linestyle="none", label=f"* {NOT_IN_IMI}")
    style.outer_labels(grid, "MIS, natural", "MIS, made images")
    return style.with_key(figure, grid[0], narrow)


def outside_imi(study: Study) -> set[str]:
    """Networks with made images of a kind that IMI left out: those with attention."""
    rows = study.tables["made_images"]
    return set(rows.loc[rows["in_imi"] == 0, "model"])


def alt_mis_natural_synthetic(frame: pd.DataFrame, study: Study) -> str:
    def over(part: pd.DataFrame) -> str:
        row = part.iloc[0]
        mark = f", {NOT_IN_IMI}" if row["model"] in outside_imi(study) else ""
        return f" over {row['n_units']:.0f} units, mean {row['base_mean']:.3f} natural and {row['mean']:.3f} made{mark}"

    what = f"MIS ({study.lead}) with made images against MIS with natural explanations, unit by unit"
    return f"{what}. Rank correlation: {rank_correlations(frame, over)}."


MIS_NATURAL_SYNTHETIC = Drawing(
    "mis_natural_synthetic", mis_natural_synthetic, draw_mis_natural_synthetic, alt_mis_natural_synthetic
)

FIGURES = (MADE_IMAGES, MIS_NATURAL_SYNTHETIC)


def made_words(study: Study) -> list[str]:
    """On how many sides of units made images go beyond nature, in sentences; none where no images were made."""
    rows = study.tables["made_images"]
    if rows.empty:
        return []
    counts = rows["status"].value_counts()
    n, units = len(rows), len(rows.drop_duplicates(UNIT))
    parts = [f"{counts[status]:,} {words}" for status, words in _COUNTED.items() if status in counts]
    sets = rows["seed_set"].nunique()
    best = int(((rows["status"] == BELOW) & (rows["ratio_best"] > 1)).sum())
    below = f"; of those below, {best} have a best image that does" if BELOW in counts else ""
    found = [
        f"Images were made for {units:,} units, {sets} seed set{'' if sets == 1 else 's'} of either side. Of {n:,} sides "
        f"{', '.join(parts)} (to beat nature, the weakest stored image must go beyond every picture of the study{below})"
    ]
    kept = rows["kept_after_shift"].dropna()
    if len(kept):
        middle = kept.median()
        tail = (
            "as a rule little of it hangs on their exact place" if middle >= KEPT else "the rest hangs on their place"
        )
        found.append(
            f"Shifted by 3 pixels the best images of {len(kept):,} sides keep {100 * middle:.0f} % of their ratio "
            f"(median over sides): {tail}"
        )
    bound = rows[rows["position_bound"].astype(bool)]
    if len(bound):
        beyond = int((bound["ratio_best"] > 1).sum())
        lost = f", and takes {beyond} of them, which go beyond nature, back within it" if beyond else ""
        found.append(
            f"{len(bound)} of the sides are {BOUND}: some shift by 3 pixels takes more than half of their best image’s ratio"
            f"{lost}"
        )
    if marked := sorted(outside_imi(study)):
        found.append(f"{' and '.join(marked)}: {NOT_IN_IMI}, which leaves networks with attention out")
    return found
