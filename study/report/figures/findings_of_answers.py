"""What figures of answers, texts and ratings show, in a short sentence from their own series."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interpretability.explanations.fronts import LATENT, REFERENCE
from interpretability.people.tuned_scores import TUNED
from interpretability.schema import NATURAL
from study.report.figures.base import Study
from study.report.figures.finding_words import Finding, highest_lowest, row_with, run_of
from study.report.figures.other_scores import SCORES
from study.report.figures.series import parts_of
from study.report.figures.texts import AUTOMATIC, OURS, pairs_tested
from study.report.figures.texts_known import ESTIMATORS
from study.report.figures.tuned import name_of
from study.report.figures.words import between, clean, condition_words, differing, of_rows, signed, task_words


def _mis_against_his(frame: pd.DataFrame, study: Study) -> str:
    own = frame[(frame["in_split"] == 0) & (frame["n"] == 1)]
    if len(own) < len(frame[frame["in_split"] == 0]) or own.empty:
        return ""
    return f"For half of {len(own)} units HIS lies within {(own['his'] - own['mis']).abs().median():.2f} of MIS"


def _his_by_mis(frame: pd.DataFrame, study: Study) -> str:
    first, last = frame.iloc[0], frame.iloc[-1]
    return f"Mean HIS is {first['his_mean']:.3f} in the lowest bin and {last['his_mean']:.3f} in the highest"


def _his_by_mis_similarities(frame: pd.DataFrame, study: Study) -> str:
    rise = {name: part["his_mean"].iloc[-1] - part["his_mean"].iloc[0] for name, part in parts_of(frame, "backend")}
    most = max(rise, key=lambda name: rise[name])
    return f"From the lowest bin to the highest HIS changes most under {study.called(most)}, by {signed(rise[most], 3)}"


def _extreme_groups(frame: pd.DataFrame, study: Study) -> str:
    last = frame[frame["model"] == frame["model"].iloc[-1]]
    return f"HIS{' of all together' if last['model'].iloc[0] == '' else ''}: " + of_rows(
        last, lambda row: f"{row.group} {row.his_mean:.3f}", ", "
    )


def _similarities_units(frame: pd.DataFrame, study: Study) -> str:
    called = frame.assign(backend=frame["backend"].map(study.called))
    return run_of(called, "backend", "pearson", "Pearson’s r")


def _map_statistic(frame: pd.DataFrame, study: Study) -> str:
    return run_of(frame[frame["of"] == "HIS"], "model", "spearman", "Rank correlation with HIS")


def _agreement(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[(frame["level"] == "unit") & (frame["measure"] == "pearson")]
    ceilings = frame.loc[frame["measure"] == "ceiling", "value"]
    if rows.empty:
        return ""
    ceiling = f"; the noise ceiling is {ceilings.iloc[0]:.2f}" if len(ceilings) else ""
    best = row_with(rows, "value", highest=True)
    reached = f"Pearson’s r is highest for {clean(best['backend'])}, {signed(best['value'])}{between(best['low'], best['high'])}"
    return f"{reached}{ceiling}"


def _ceiling_variants(frame: pd.DataFrame, study: Study) -> str:
    return highest_lowest(frame[frame["is_ceiling"] == 1], "mean", "variant", 2, what=" of the ceilings")


def _tuning(frame: pd.DataFrame, study: Study) -> str:
    rows = study.tables["tuning"][study.tables["tuning"]["r_tuned"].notna()]
    gains = rows[rows["status"] == TUNED]
    if gains.empty:
        return "No similarity is surely better when tuned"
    best = row_with(gains, "gain", highest=True)
    reach = between(best["gain_low"], best["gain_high"]).replace("(interval", "(range")  # it covers less than it says
    name = clean(name_of(best["backend"], best["family"]))
    return f"Tuning gains most with {name}: {signed(best['gain'])}{reach} in Pearson’s r"


def _scores_people(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[frame["level"] == "unit"]
    if rows.empty:
        return ""
    best = row_with(rows, "value", highest=True)
    value = f"{signed(best['value'])}{between(best['low'], best['high'])}"
    return f"Over units {SCORES.get(best['score'], best['score'])} agrees most, {value}"


def _texts(frame: pd.DataFrame, study: Study) -> str:
    means = frame.groupby("method", sort=False)["rho_mean"].mean().reset_index()
    return highest_lowest(means, "rho_mean", "method", 2, what=" over networks")


def _texts_crowd(frame: pd.DataFrame, study: Study) -> str:
    added = (frame["rho_mean"] - frame["guide_only_mean"]).dropna()
    return f"Ratings add {signed(added.mean())} to the guide alone, on average" if len(added) else _texts(frame, study)


def _texts_guides(frame: pd.DataFrame, study: Study) -> str:
    change = float((frame["second_mean"] - frame["guide_mean"]).mean())
    added = f"Means are {abs(change):.2f} {'higher' if change > 0 else 'lower'} with the second guide"
    known = frame.drop_duplicates("model")["spearman"].dropna()
    if known.empty:
        return added
    ends = dict.fromkeys((signed(known.min()), signed(known.max())))
    return f"{added}; methods keep their order with a rank correlation of {' to '.join(ends)}"


def _texts_tests(frame: pd.DataFrame, study: Study) -> str:
    drawn = frame["score"].iloc[0]
    if (found := _differ(frame)) == "":
        return ""
    other = _differ(pairs_tested(study, AUTOMATIC)) if drawn != AUTOMATIC else ""
    rest = f"; by {_BY[AUTOMATIC]}, not drawn, {other}" if other else ""
    return f"By {_BY[drawn]} {found} tested pairs differ{rest}"


_BY = {OURS: "ratings", AUTOMATIC: "the automatic score"}


def _differ(pairs: pd.DataFrame) -> str:
    tested = pairs["p_holm"].dropna()
    return f"{int((tested < 0.05).sum())} of {len(tested)}" if len(tested) else ""


def _texts_kappa(frame: pd.DataFrame, study: Study) -> str:
    return f"Kappa lies between {signed(frame['kappa'].min())} and {signed(frame['kappa'].max())}"


def _texts_raters(frame: pd.DataFrame, study: Study) -> str:
    good = frame[frame["flagged"] == 0]
    if good.empty:
        return ""
    yes, no = (100 * good[name].median() for name in ("false_yes", "false_no"))
    return f"Medians: {yes:.0f} % wrong yes, {no:.0f} % wrong no; {len(frame) - len(good)} of {len(frame)} flagged"


def _texts_known(frame: pd.DataFrame, study: Study) -> str:
    kept = []
    for _, part in frame.groupby("score", sort=False):
        known = part.sort_values("true_mean", ascending=False, kind="stable")["rho_mean"]
        kept.append(bool(known.is_monotonic_decreasing))
    recalled = frame[frame["recall_mean"].notna()]
    first = (
        f", top pictures put “{clean(row_with(recalled, 'recall_mean', highest=True)['method'])}” first"
        if len(recalled)
        else ""
    )
    return f"Mean scores {'keep' if all(kept) else 'do not all keep'} the known order{first}"


def _texts_truth(frame: pd.DataFrame, study: Study) -> str:
    errors = frame.drop_duplicates("score")
    low, high = (row_with(errors, "rce", highest=each) for each in (False, True))
    return (
        f"Relative error from {100 * low['rce']:.0f} % ({ESTIMATORS[low['score']]}) to {100 * high['rce']:.0f} % "
        f"({ESTIMATORS[high['score']]})"
    )


def _crowd_pareto(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[frame["world"] == frame["world"].iloc[0]]
    lowest = {
        method: row_with(part, "rce", highest=False)
        for method, part in parts_of(rows, "method")
        if method in (LATENT, REFERENCE)
    }
    called = {LATENT: "ours", REFERENCE: "the paper’s"}
    words = [f"{called[name]} {100 * row['rce']:.0f} % at {row['ratings']:,.0f}" for name, row in lowest.items()]
    return f"Lowest errors in the first world: {', '.join(words)} ratings" if words else ""


def _crowd_guides(frame: pd.DataFrame, study: Study) -> str:
    best = [row_with(part, "rce", highest=False)["method"] for _, part in parts_of(frame, "world")]
    return f"Ours errs least in {best.count(LATENT)} of {len(best)} worlds" if LATENT in set(frame["method"]) else ""


def _his_models(frame: pd.DataFrame, study: Study) -> str:
    return highest_lowest(frame[frame["condition"] == NATURAL], "his_mean", "model")


def _his_model_tests(frame: pd.DataFrame, study: Study) -> str:
    condition = frame["condition"].iloc[0]
    found = differing(frame[frame["condition"] == condition])
    return f"With {condition_words(condition)} explanations {found}" if found else ""


def _his_depth(frame: pd.DataFrame, study: Study) -> str:
    return run_of(frame, "model", "spearman", "Rank correlation")


def _confidence(frame: pd.DataFrame, study: Study) -> str:
    right = {
        level: np.average(part["correct"], weights=part["n_responses"])
        for level in sorted(set(frame["confidence"].astype(float)))
        if len(part := frame[(frame["confidence"] == level) & frame["correct"].notna()])
    }
    if len(right) < 2:
        return ""
    low, high = min(right), max(right)
    return f"{100 * right[low]:.0f} % of answers at confidence {low:g} are right, {100 * right[high]:.0f} % at {high:g}"


def _difficulty_levels(frame: pd.DataFrame, study: Study) -> str:
    shared = frame[frame["units"] == "shared"]
    pairs = [part for _, part in shared.groupby(["model", "of"], sort=False) if len(part) == 2]
    if not pairs:
        return ""
    first, last = pairs[-1].iloc[0], pairs[-1].iloc[1]
    return (
        f"The same units of {clean(last['model'])} have {first['his_mean']:.3f} in easy and {last['his_mean']:.3f} in "
        f"{task_words(last['condition'])} tasks"
    )


def _difficulty_units(frame: pd.DataFrame, study: Study) -> str:
    lower, mean = 100 * (frame["gap"] > 0).mean(), signed(frame["gap"].mean(), 3)
    return f"{lower:.0f} % of pairs are lower in harder tasks, by {mean} on average"


def _difficulty_machine(frame: pd.DataFrame, study: Study) -> str:
    rows = frame[frame["model"] == frame["model"].iloc[0]]
    first, last = rows.iloc[0], rows.iloc[-1]
    return (
        f"The same {last['n_units']:.0f} units of {clean(last['model'])} score {first['mis_mean']:.3f} in natural and "
        f"{last['mis_mean']:.3f} in {task_words(last['condition'])} tasks"
    )


def _natural_synthetic(frame: pd.DataFrame, study: Study) -> str:
    natural, made = (np.average(frame[name], weights=frame["n"]) for name in ("his_base", "his"))
    return f"Mean HIS {natural:.3f} natural, {made:.3f} synthetic, over {int(frame['n'].sum())} units"


FINDINGS: dict[str, Finding] = {
    "mis_against_his": _mis_against_his,
    "his_by_mis": _his_by_mis,
    "his_by_mis_similarities": _his_by_mis_similarities,
    "extreme_groups": _extreme_groups,
    "similarities_units": _similarities_units,
    "agreement": _agreement,
    "ceiling_variants": _ceiling_variants,
    "tuning": _tuning,
    "scores_people": _scores_people,
    "texts_automatic": _texts,
    "texts_crowd": _texts_crowd,
    "texts_guides": _texts_guides,
    "texts_tests": _texts_tests,
    "texts_kappa": _texts_kappa,
    "texts_raters": _texts_raters,
    "texts_known": _texts_known,
    "texts_truth": _texts_truth,
    "crowd_pareto": _crowd_pareto,
    "crowd_guides": _crowd_guides,
    "his_models": _his_models,
    "his_model_tests": _his_model_tests,
    "his_depth": _his_depth,
    "confidence": _confidence,
    "difficulty_levels": _difficulty_levels,
    "difficulty_units": _difficulty_units,
    "difficulty_gaps": _difficulty_units,
    "difficulty_machine": _difficulty_machine,
    "natural_synthetic": _natural_synthetic,
    "map_contrast": _map_statistic,
    "map_pixel_sparseness": _map_statistic,
    "map_channel_sparseness": _map_statistic,
}
