"""The answer to each question of the page in a line: numbers with their intervals, in words that the tables' tests allow.

Every number is read from a table of the study. Where an interval holds zero, or a test finds nothing, the sentence says so; where
the study has no data for a question its answer is ''. People are called what the study calls them: simulated ones are simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import pandas as pd

from interpretability.analysis.training_series import ALL_SERIES
from interpretability.schema import NATURAL, ONE_SIDED, SYNTHETIC
from study.report.figures import bases, ceiling, kinds, other_scores, texts, training
from study.report.figures.base import SECTIONS, Study
from study.report.figures.series import rows_of
from study.report.figures.words import differing, in_words, method_words
from study.report.page.cells import count, interval, number, short
from study.report.page.tables_of_answers import ceiling_rows

MOST_NAMED = 5  # networks that a sentence names one by one; of more the two at the ends
_DIGITS = 3


def answers(study: Study) -> dict[str, str]:
    """The answer to every question of SECTIONS; '' where the study has no numbers for one."""
    return {key: _ANSWERS[key](study) for key, _ in SECTIONS}


def with_range(value: Any, low: Any, high: Any, digits: int = _DIGITS, *, plus: bool = False) -> str:
    """`0.712 (0.690 to 0.733)`; the number alone where there is no interval. `plus`: a gain carries its sign."""
    between = interval(low, high, digits)
    return f"{_gain(value, digits) if plus else number(digits)(value)}{'' if between == '–' else f' ({between})'}"


def _gain(value: float, digits: int = _DIGITS) -> str:
    return f"{value:+z.{digits}f}".replace("-", "−")


def _joined(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _how_many(n: int) -> str:
    return in_words(n) if n else "none"


def _told(low: Any, high: Any) -> int:
    """Which sign an interval tells: 1 or −1, and 0 for none, or without an interval."""
    return int(low > 0) - int(high < 0)


def _levels(rows: pd.DataFrame, value: str, low: str, high: str) -> str:
    """Networks with their means, the highest first; of many the two at the ends."""
    said = [f"{row['model']} {with_range(row[value], row[low], row[high])}" for row in rows.to_dict("records")]
    return ", ".join(said) if len(said) <= MOST_NAMED else f"{said[0]} to {said[-1]}, over {count(len(said))} networks"


def _of_pairs(study: Study, table: str, backend: str) -> str:
    """Which groups differ by the test of a table, as a sentence of its own; '' without pairs."""
    rows = study.tables[table]
    found = differing(rows[rows["backend"] == backend])
    if not found:
        return ""
    return (
        f" {found[0].upper()}{found[1:]}." if found.startswith(("no ", "all ")) else f" By the test of pairs {found}."
    )


def _ranking(study: Study) -> str:
    rows = study.models()
    if rows.empty:
        return ""
    first = rows.iloc[0]
    if len(rows) == 1:
        level = with_range(first["mis_mean"], first["mis_low"], first["mis_high"])
        middle = interval(first["p25"], first["p75"])
        units = f"{count(first['n_units'])} units, the middle half of which has {middle}"
        said = f"{first['model']} has a mean MIS of {level} over {units}."
    else:
        said = f"Mean MIS: {_levels(rows, 'mis_mean', 'mis_low', 'mis_high')}."
        said += _of_pairs(study, "network_tests", study.lead)
    return said + _of_slope(study)


def _of_slope(study: Study) -> str:
    """What must be said beside a level whose slope no answers tell."""
    fits = study.tables["calibration"].set_index("backend")["status"]
    status = str(fits.get(study.lead, ""))
    return f" The slope is {status}, so the level is a convention." if status.startswith("not ") else ""


def _layers(study: Study) -> str:
    rows = study.tables["layers"]
    rows = rows[(rows["backend"] == study.lead) & rows["model"].isin(study.models()["model"])]
    if rows.empty:
        return ""
    lowest, highest = (rows.iloc[int(place)] for place in (rows["mis_mean"].argmin(), rows["mis_mean"].argmax()))
    ends = [f"{number(_DIGITS)(row['mis_mean'])} in {row['model']} {row['layer']}" for row in (lowest, highest)]
    found = study.tables["correlations"]
    found = found[(found["backend"] == study.lead) & (found["level"] == "layer") & (found["layer_type"] == "")]
    said = f"Mean MIS of a layer runs from {ends[0]} to {ends[1]}, {count(len(rows))} layers."
    for row in rows_of(found[(found["x"] == "depth") & found["pearson"].notna()]):
        said += f" Correlation with depth: {with_range(row.pearson, row.low, row.high, 2)}."
    pairs = _of_pairs(study, "layer_type_tests", study.lead)
    return said + (f" Types:{pairs[0]}{pairs[1].lower()}{pairs[2:]}" if pairs else "")


def _bases(study: Study) -> str:
    frame = bases.units_or_directions(study)
    whole = frame[frame["layer"] == ""]
    one_sided = whole[whole["condition"] == ONE_SIDED]
    said = []
    for row in rows_of(one_sided if len(one_sided) else whole):
        sign = f"{row.sign} the units" if row.sign else "no sign can be told"
        level = with_range(row.difference, row.low, row.high, plus=True)
        said.append(f"{row.model} minus units of {row.base}: {level}, {sign}")
    shown = "; ".join(said[:MOST_NAMED]) + (f"; {count(len(said) - MOST_NAMED)} more" if len(said) > MOST_NAMED else "")
    tasks = f" ({bases.CONDITIONS[ONE_SIDED]})" if len(one_sided) else ""
    return " ".join(part for part in (f"{shown}{tasks}." if said else "", _superposed(study)) if part)


def _superposed(study: Study) -> str:
    """Units that mix features beside the features themselves, in the layer in superposition."""
    rows = bases.superposed(study)
    rows = rows[rows["backend"] == study.lead]
    rows = rows[
        rows["condition"] == rows["condition"].head(1).squeeze()
    ]  # tasks of one kind, one-sided ones where there are any
    levels = {
        row["layer"]: with_range(row["mis_mean"], row["mis_low"], row["mis_high"]) for row in rows.to_dict("records")
    }
    if not {"mixture", "features"} <= set(levels):
        return ""
    mixed, pure = levels["mixture"], levels["features"]
    tasks = bases.CONDITIONS[rows["condition"].iloc[0]]
    return (
        f"In {tasks} of a simulated layer in superposition units that mix features score {mixed}, the features "
        f"themselves {pure}."
    )


def _people(study: Study) -> str:
    rows = study.tables["agreement"]
    rows = rows[(rows["backend"] == study.lead) & (rows["units"] == "outside_split") & rows["pearson"].notna()]
    found = {row["level"]: row for row in rows.to_dict("records")}
    if "unit" not in found:
        return ""
    unit = found["unit"]
    told = _told(unit["pearson_low"], unit["pearson_high"])
    claim = {1: "It goes with", 0: "No agreement can be told with", -1: "It goes against"}[told]
    said = f"{claim} the answers of {study.people}: r = {_pearson(unit)} over {count(unit['n'])} units not used to fit the slope"
    return f"{said}, inside networks {_pearson(found['unit_within'])}." if "unit_within" in found else f"{said}."


def _pearson(row: dict[Hashable, Any]) -> str:
    return with_range(row["pearson"], row["pearson_low"], row["pearson_high"], 2)


def _ceiling(study: Study) -> str:
    row = ceiling.leading_ceiling(study)
    if row is None:
        return ""
    least = "at least " if row["variant"] == "V4" else ""
    level = with_range(row["mean"], row["low"], row["high"], 2)
    said = f"The noise in answers of {study.people} lets a perfect score reach {least}r = {level}"
    shares = ceiling_rows(study, shares=True)
    shares = shares[shares["backend"] == study.lead]
    whole = shares[shares["subset"] == "all"]
    for share in rows_of((whole if len(whole) else shares).head(1)):
        most = "at most " if least else ""
        ends = interval(100 * share.share_low, 100 * share.share_high, 0)
        level = f"{100 * share.share:.0f} %{'' if ends == '–' else f' ({ends} %)'}"
        said += f"; MIS reaches {most}{level} of what is possible over the units not used to fit the slope"
    return f"{said}."


def _scores(study: Study) -> str:
    table = study.tables["scores_compared"]
    rows = table[(table["part"] == "people") & (table["backend"] == study.lead) & (table["level"] == "unit")]
    rows = rows[(rows["coefficient"] == "spearman") & rows["value"].notna()]
    own, others = rows[rows["first"] == "mis"], rows[(rows["first"] != "mis") & rows["p_holm"].notna()]
    if own.empty or others.empty:
        found = other_scores.scores_words(study)
        return f"{found[0]}." if found else ""
    first = own.iloc[0]
    level = with_range(first["value"], first["low"], first["high"], 2)
    differ = others[others["p_holm"] < _SURE]
    better, worse = int((differ["difference"] > 0).sum()), int((differ["difference"] < 0).sum())
    rest = len(others) - better - worse
    return (
        f"MIS has a rank correlation of {level} with {study.people} over {count(own.iloc[0]['n'])} units; of "
        f"{in_words(len(others))} other scores {_how_many(better)} agree{'s' if better < 2 else ''} better and "
        f"{_how_many(worse)} worse{f', and for {in_words(rest)} no difference is found' if rest else ''} (p after Holm)."
    )


_SURE = 0.05  # an adjusted p below has stars in the tables


def _texts(study: Study) -> str:
    for score, words in ((texts.AUTOMATIC, "the automatic score"), (texts.OURS, f"ratings of {study.rating_people}")):
        rows = texts.method_rows(study, score)
        if len(rows):
            return f"{_best_texts(study, rows, words)}{_told_best(study, rows, score)}."
    return ""


def _best_texts(study: Study, rows: pd.DataFrame, words: str) -> str:
    """The method with the highest mean in each network, beside texts of other units."""
    best = _by_mean(rows).groupby("model", sort=False).head(1)
    said = [
        f"{', '.join(f'{row.model} {with_range(row.rho_mean, row.low, row.high)}' for row in rows_of(own))} with "
        f"{method_words(str(method))}"
        for method, own in best.groupby("method", sort=False)
    ]
    if len(best) > MOST_NAMED:
        commonest = best["method"].value_counts()
        first = method_words(str(commonest.index[0]))
        ends = interval(best["rho_mean"].min(), best["rho_mean"].max())
        said = [f"{first} in {commonest.iloc[0]} of {count(len(best))} networks, whose highest means are {ends}"]
    control = rows["control_mean"].dropna()
    ends = dict.fromkeys(number(2)(end) for end in (control.min(), control.max()))
    others = f"; texts of other units score {' to '.join(ends)}" if len(control) else ""
    return f"Highest by {words}: {'; '.join(said)}{others}"


def _by_mean(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(down=-rows["rho_mean"]).sort_values("down", kind="stable")


def _told_best(study: Study, rows: pd.DataFrame, score: str) -> str:
    """In how many networks a test tells the first method from the second."""
    tests = study.tables["explanation_tests"]
    tests = tests[(tests["score"] == score) & tests["p_holm"].notna()]
    tested = told = 0
    for model, own in _by_mean(rows).groupby("model", sort=False):
        pair = set(own["method"].head(2))
        found = [row for row in rows_of(tests[tests["model"] == model]) if {row.first, row.second} == pair]
        tested += len(found)
        told += sum(row.p_holm < _SURE for row in found)
    if not tested:
        return ""
    if tested == 1:
        return f"; by test it {'differs' if told else 'does not differ'} from the second best"
    how_many = f"{in_words(told)} of {in_words(tested)}" if told else "none of them"
    return f"; {how_many} differ{'s' if told < 2 else ''} from the second best by test"


def _kinds(study: Study) -> str:
    frame = kinds.explanation_kinds(study)
    frame = frame[(frame["model"] == kinds.EVERY) & (frame["kind"] != NATURAL)]
    known = frame["low"].notna() & frame["high"].notna()
    told = [row for row in rows_of(frame[known]) if _told(row.low, row.high)]
    untold = [row for row in rows_of(frame[known]) if not _told(row.low, row.high)]
    found = ""
    if told:
        found = (
            f"Against natural explanations of the same units: {', '.join(map(_of_kind, told))} MIS{_untold(untold)}."
        )
    elif untold:
        how_many = f"{in_words(len(untold))} kind{'' if len(untold) == 1 else 's'}"
        made = [_of_kind(row) for row in untold if row.kind == SYNTHETIC]
        found = f"Of {how_many} none can be told from natural explanations of the same units{_among(made)}."
    choosing = kinds.choosing_words(study)
    return " ".join(
        part for part in (found, _without_interval(frame[~known]), f"{choosing[0]}." if choosing else "") if part
    )


def _of_kind(row: Any) -> str:
    """A kind with its difference from natural explanations, and the interval of that."""
    return f"{kinds.kind_words(row.kind)} {with_range(row.difference, row.low, row.high, plus=True)}"


def _among(made: list[str]) -> str:
    return f", {made[0]} among them" if made else ""


def _untold(rows: list[Any]) -> str:
    """Kinds whose own interval holds zero: their number, and the difference of made images where it is one of these."""
    if not rows:
        return ""
    made = [_of_kind(row) for row in rows if row.kind == SYNTHETIC]
    others = f"{in_words(len(rows))} other kind{'' if len(rows) == 1 else 's'}"
    return f"; of {others} no difference can be told{_among(made)}, each by its own interval"


def _without_interval(rows: pd.DataFrame) -> str:
    """Kinds of which there are too few units for an interval, with their number of units."""
    rows = rows[rows["difference"].notna()]
    said = [
        f"{kinds.kind_words(row.kind)} {_gain(row.difference)} over {in_words(int(row.n_units))} "
        f"unit{'' if row.n_units == 1 else 's'}"
        for row in rows_of(rows)
    ]
    return f"Without an interval: {_joined(said)}." if said else ""


def _robust(study: Study) -> str:
    rows = study.tables["backend_agreement"]
    own = rows[((rows["first"] == study.lead) | (rows["second"] == study.lead)) & rows["spearman"].notna()]
    others = [
        f"{row.second if row.first == study.lead else row.first} {number(2)(row.spearman)}" for row in rows_of(own)
    ]
    said = (
        f"Rank correlation of units between {study.lead} and other similarities: {', '.join(others)}." if others else ""
    )
    fits = study.tables["calibration"]
    fit = fits[fits["backend"] == study.lead]
    backend = study.tables["backends"]
    backend = backend[backend["backend"] == study.lead]
    if len(backend) and interval(backend.iloc[0]["mis_slope_low"], backend.iloc[0]["mis_slope_high"]) != "–":
        row = backend.iloc[0]
        ends = interval(row["mis_slope_low"], row["mis_slope_high"])
        return f"{said} Over the interval of its slope the mean MIS {number(_DIGITS)(row['mis_mean'])} moves from {ends}.".strip()
    if len(fit):
        return f"{said} The slope of {study.lead} is {short(fit.iloc[0]['slope'])}, {fit.iloc[0]['status']}.".strip()
    return said


def _training(study: Study) -> str:
    rows = study.tables["training_gain"]
    rows = rows[(rows["backend"] == study.lead) & rows["difference"].notna()]
    series = rows[rows["series"] != ALL_SERIES]
    whole = rows[rows["series"] == ALL_SERIES]
    if rows.empty:
        steps = training.training(study)
        return _course(steps) if len(steps) else ""
    if whole.empty:
        return f"Trained minus untrained, unit by unit: {_gains(series)} MIS."
    row = whole.iloc[0]
    tail = "" if _told(row["low"], row["high"]) else ", which tells no change"
    gain = with_range(row["difference"], row["low"], row["high"], plus=True)
    networks = f"{in_words(len(series))} network{'' if len(series) == 1 else 's'}, {count(row['n_units'])} units"
    return f"{gain} MIS, unit by unit{tail}: mean over {networks}, trained minus untrained."


def _gains(series: pd.DataFrame) -> str:
    said = [f"{row.series} {with_range(row.difference, row.low, row.high, plus=True)}" for row in rows_of(series)]
    return ", ".join(said[:MOST_NAMED]) + (f", {count(len(said) - MOST_NAMED)} more" if len(said) > MOST_NAMED else "")


def _course(steps: pd.DataFrame) -> str:
    """From the first to the last checkpoint, where none is untrained."""
    said = []
    for series, part in steps.groupby("series", sort=False):
        ends = [f"{number(_DIGITS)(row['mis_mean'])} at step {row['step']:g}" for row in (part.iloc[0], part.iloc[-1])]
        said.append(f"{series} from {ends[0]} to {ends[1]}")
    rest = f"; {count(len(said) - MOST_NAMED)} more" if len(said) > MOST_NAMED else ""
    return f"Mean MIS: {'; '.join(said[:MOST_NAMED])}{rest}. No network has an untrained step."


def _controls(study: Study) -> str:
    passed = pd.to_numeric(study.tables["controls"]["passed"], errors="coerce").dropna()
    if passed.empty:
        return ""
    failed = int((passed != 1).sum())
    checks = f"{count(len(passed))} checks with an answer known beforehand"
    if failed:
        return f"{count(failed)} of {checks} failed, over all similarities."
    return f"All {checks} came out as they should, over all similarities."


def _human(study: Study) -> str:
    rows = study.tables["his_models"]
    rows = rows[(rows["condition"] == NATURAL) & rows["his_mean"].notna()]
    if rows.empty:
        return ""
    ordered = rows.assign(down=-rows["his_mean"]).sort_values("down", kind="stable")
    levels = _levels(ordered, "his_mean", "low", "high")
    return f"Share of right answers of {study.people} (HIS): {levels}.{_of_pairs(study, 'network_tests', 'human')}"


_ANSWERS: dict[str, Callable[[Study], str]] = {
    "ranking": _ranking,
    "layers": _layers,
    "bases": _bases,
    "people": _people,
    "ceiling": _ceiling,
    "scores": _scores,
    "texts": _texts,
    "kinds": _kinds,
    "robust": _robust,
    "training": _training,
    "controls": _controls,
    "human": _human,
}
