"""What a figure shows, in a short sentence from its own series: the finding that its caption begins with.

Numbers are those drawn. Where a series cannot say a finding in a sentence, or has too few rows for one, it is ''.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from interpretability.schema import BEATS, ONE_SIDED, SYNTHETIC
from study.report.figures.base import Study
from study.report.figures.finding_words import Finding, highest_lowest, row_with, run_of
from study.report.figures.findings_of_answers import FINDINGS
from study.report.figures.kinds import EVERY, kind_words
from study.report.figures.series import parts_of, rows_of
from study.report.figures.words import between, both_correlations, clean, differing, of_rows, signed


def finding(name: str, frame: pd.DataFrame, study: Study) -> str:
    """The finding of a figure by its name, a sentence with its stop; '' where there is none."""
    said = _ALL[name](frame, study) if name in _ALL else ""
    return f"{said}." if said else ""


def _models_ranked(frame: pd.DataFrame, study: Study) -> str:
    middle = (frame["p75"] - frame["p25"]).mean()
    span = frame["mis_mean"].max() - frame["mis_mean"].min()
    return (
        f"Means of {len(frame)} networks span {span:.3f}, while the middle half of the units of one network spans "
        f"{middle:.3f} on average"
    )


def _models_by_p5(frame: pd.DataFrame, study: Study) -> str:
    first, last = frame.iloc[0], frame.iloc[-1]
    return (
        f"One unit in twenty of {clean(first['model'])} scores below {first['p5']:.3f}, of {clean(last['model'])} below "
        f"{last['p5']:.3f}"
    )


def _unit_distribution(frame: pd.DataFrame, study: Study) -> str:
    peaks = frame.loc[frame.groupby("model", sort=False)["share"].idxmax()]
    shown = peaks.sort_values("low", ascending=False, kind="stable")
    ends = shown.iloc[[0, -1]] if len(shown) > 1 else shown
    return "Fullest bin: " + of_rows(ends, lambda row: f"{clean(row.model)} {row.low:.3f} to {row.high:.3f}")


def _against(frame: pd.DataFrame, study: Study) -> str:
    row = frame.iloc[0]
    return "" if np.isnan(row["pearson"]) else f"{both_correlations(row)} over {len(frame)} networks"


def _against_resolution(frame: pd.DataFrame, study: Study) -> str:
    several = frame[frame.duplicated("of", keep=False)]
    if several.empty:
        return _against(frame, study)
    ends = several.groupby("of", sort=False)["mis_mean"].agg(["first", "last"])
    change = ends["last"] - ends["first"]
    if len(change) == 1:
        name = clean(change.index[0])
        return f"From its smallest input to its largest mean MIS of {name} changes by {signed(change.iloc[0], 3)}"
    return (
        f"From the smallest input to the largest mean MIS rises in {int((change > 0).sum())} of {len(change)} networks; changes "
        f"are {signed(change.min(), 3)} to {signed(change.max(), 3)}"
    )


def _likeness_to_people(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[(frame["score"] == "mis") & frame["spearman"].notna()]
    named = rows.assign(panel=rows["panel"].str.replace("_", " "))
    return run_of(named, "panel", "spearman", "Rank correlation with mean MIS")


def _constant_share(frame: pd.DataFrame, study: Study) -> str:
    some, first = int((frame["share"] > 0).sum()), frame.iloc[0]
    most = f"at most {100 * first['share']:.2g} % ({clean(first['model'])})"
    return f"{some} of {len(frame)} networks {'has' if some == 1 else 'have'} units that never change, {most}"


def _layer_types(frame: pd.DataFrame, study: Study) -> str:
    return highest_lowest(frame[frame["model"] == ""], "mis_mean", "layer_type", what=" over the networks that have it")


def _differing(frame: pd.DataFrame, study: Study) -> str:
    found = differing(frame)
    return f"By the tests {found}" if found else ""


def _depth(frame: pd.DataFrame, study: Study) -> str:
    ends = frame.groupby("panel", sort=False)["mis_mean"].agg(["min", "max"])
    span = ends["max"] - ends["min"]
    most = str(span.idxmax())
    low, high = (ends.loc[most, name] for name in ("min", "max"))
    return f"Means of layers differ most in {clean(most)}, from {low:.3f} to {high:.3f}"


def _units_or_directions(frame: pd.DataFrame, study: Study) -> str:
    single = frame[(frame["layer"] != "") & (frame["condition"] == ONE_SIDED)]  # in natural tasks signed units win too
    if single.empty:
        return ""
    above, below = (int((single["sign"] == sign).sum()) for sign in ("above", "below"))
    return f"Of {len(single)} comparisons of single layers in one-sided tasks {above} lie above and {below} below the units"


def _superposed(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[frame["backend"] == frame["backend"].iloc[0]]
    rows = rows[rows["condition"] == rows["condition"].iloc[0]].set_index("layer")["mis_mean"]
    named = [f"{name} {rows[name]:.3f}" for name in ("mixture", "trained", "features") if name in rows]
    return f"Under {clean(frame['backend'].iloc[0])}: {', '.join(named)}" if named else ""


def _explanation_kinds(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[(frame["model"] == EVERY) & frame["difference"].notna()]
    if rows.empty:
        return ""
    row = rows.iloc[int(rows["difference"].abs().argmax())]
    change = f"{signed(row['difference'], 3)}{between(row['low'], row['high'], 3)}"
    words = f"Over all networks MIS {{}} {kind_words(row['kind'])}, {change}"
    told = rows[(rows["low"] > 0) | (rows["high"] < 0)]
    if row["kind"] in set(told["kind"]):
        return words.format("changes most with")
    rest = f"; one is with {', '.join(map(kind_words, told['kind']))}" if len(told) else ""
    return f"{words.format('lies furthest from natural with')}: no difference is told{rest}"


def _choosing_gain(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[(frame["model"] == EVERY) & (frame["backend"] == study.lead)]
    return of_rows(
        rows.head(1),
        lambda row: (
            f"Over all networks {signed(row.difference, 3)}{between(row.low, row.high, 3)}, naive {signed(row.naive, 3)}"
        ),
    )


def _made_images(frame: pd.DataFrame, study: Study) -> str:
    return f"On {int((frame['status'] == BEATS).sum())} of {len(frame)} sides all images go beyond nature"


def _mis_natural_synthetic(frame: pd.DataFrame, study: Study) -> str:
    rows = frame.drop_duplicates("model")
    natural, made = (np.average(rows[name], weights=rows["n_units"]) for name in ("base_mean", "mean"))
    sets = study.tables["explanation_kinds"]
    n_sets = sets.loc[sets["kind"] == SYNTHETIC, "n_sets"].max()
    first = f" (first of {n_sets:.0f} sets)" if n_sets > 1 else ""
    return f"Mean MIS {natural:.3f} natural, {made:.3f} made{first}, over {int(rows['n_units'].sum())} units"


def _calibration(frame: pd.DataFrame, study: Study) -> str:
    chosen = frame.drop_duplicates("backend")
    chosen = chosen[chosen["chosen"].notna() & ~chosen["backend"].isin(study.unidentified)]
    return (
        f"Chosen: {of_rows(chosen, lambda row: f'{clean(row.backend)} {row.chosen:.3g}', ', ')}" if len(chosen) else ""
    )


def _sensitivity(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[(frame["backend"] == study.lead) & frame["spearman"].notna()]
    if rows.empty:
        return ""
    low = row_with(rows, "spearman", highest=False)
    setting = {"n_tasks": "N", "n_explanations": "K", "slope": "slope"}[low["setting"]]
    return f"Under {clean(study.lead)} the rank correlation is lowest at {setting} = {low['value']:g}, {signed(low['spearman'])}"


def _convergence(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[(frame["panel"] == "first") & (frame["n_tasks"] <= study.n_tasks / 2)]
    if rows.empty:
        return ""
    rows = rows[rows["n_tasks"] == rows["n_tasks"].max()]
    low, high = rows["mean_abs_diff"].min(), rows["mean_abs_diff"].max()
    ends = f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"
    return f"The first {rows['n_tasks'].iloc[0]:g} tasks are {ends} away from all {study.n_tasks}"


def _similarities(frame: pd.DataFrame, study: Study) -> str:
    pairs = frame.assign(pair=[f"{clean(row.first)} and {clean(row.second)}" for row in rows_of(frame)])
    return run_of(pairs, "pair", "spearman", "Rank correlation") if len(pairs) > 1 else ""


def _training(frame: pd.DataFrame, study: Study) -> str:
    ends = frame.groupby("series", sort=False)["mis_mean"].agg(["first", "last"])
    change = ends["last"] - ends["first"]
    if len(change) == 1:
        return f"From its first step to its last {clean(change.index[0])} changes by {signed(change.iloc[0], 3)}"
    rising, ends = int((change > 0).sum()), f"{signed(change.min(), 3)} to {signed(change.max(), 3)}"
    words = f"Mean MIS rises in {rising} of {len(change)} trainings, by {ends}"
    falling = _falling(frame)
    if len(falling) > 2:
        return f"{words}; {len(falling)} are highest before the end and fall from there"
    falls = [
        f"{clean(name)} falls from {peak['mis_mean']:.3f} at step {peak['step']:g} to {last['mis_mean']:.3f}"
        for name, peak, last in falling
    ]
    return "; ".join([words, *falls])


def _falling(frame: pd.DataFrame) -> list[tuple[str, pd.Series, pd.Series]]:
    """Trainings whose last interval lies wholly below that of their highest step: name, highest and last row."""
    ends = ((name, row_with(part, "mis_mean", highest=True), part.iloc[-1]) for name, part in parts_of(frame, "series"))
    return [(name, peak, last) for name, peak, last in ends if last["mis_high"] < peak["mis_low"]]


def _layer_change(frame: pd.DataFrame, study: Study) -> str:
    whole = frame[frame["period"] == "full"]
    return (
        f"Over the whole training {int((whole['change'] > 0).sum())} of {len(whole)} layers rise" if len(whole) else ""
    )


def _dose_response(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[(frame["family"] == frame["family"].iloc[0]) & (frame["backend"] == study.lead)]
    if len(rows) < 2:
        return ""
    first, last = rows.iloc[0], rows.iloc[-1]
    return (
        f"Under {clean(study.lead)} MIS goes from {first['mis_mean']:.3f} at rho {first['rho']:g} to {last['mis_mean']:.3f} "
        f"at {last['rho']:g}"
    )


def _control_levels(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[(frame["backend"] == study.lead) & frame["control"].isin(["hash", "factor"])]
    said = of_rows(rows, lambda row: f"{row.control} {row.mis_mean:.3f}", ", ")
    return f"Under {clean(study.lead)}: {said}" if said else ""


def _activation_histograms(frame: pd.DataFrame, study: Study) -> str:
    peaks = frame.groupby(["layer", "unit"], sort=False)["n_peaks"].first()
    return f"{int((peaks == 1).sum())} of {len(peaks)} units have a single peak"


_ALL: dict[str, Finding] = {
    **FINDINGS,
    "models_ranked": _models_ranked,
    "models_by_p5": _models_by_p5,
    "unit_distribution": _unit_distribution,
    "mis_against_accuracy": _against,
    "mis_against_resolution": _against_resolution,
    "likeness_to_people": _likeness_to_people,
    "constant_share": _constant_share,
    "layer_types": _layer_types,
    "layer_type_tests": _differing,
    "depth": _depth,
    "units_or_directions": _units_or_directions,
    "superposed": _superposed,
    "explanation_kinds": _explanation_kinds,
    "choosing_gain": _choosing_gain,
    "made_images": _made_images,
    "mis_natural_synthetic": _mis_natural_synthetic,
    "calibration": _calibration,
    "sensitivity": _sensitivity,
    "convergence": _convergence,
    "similarities": _similarities,
    "training": _training,
    "layer_change": _layer_change,
    "dose_response": _dose_response,
    "control_levels": _control_levels,
    "activation_histograms": _activation_histograms,
}
