"""Summary tables of scored units: networks, layers, layer types, backends, training steps.

Every table has one row a group and backend. An interval of a mean is that of normal theory over units:
mean +- t * sd / sqrt(n) with the t quantile for n - 1 degrees of freedom, units taken as a sample; NaN below
FEWEST units.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from stages.science import components
from stages.science.controls import label_factors
from stages.science.randomness import generator

_BLOCK = 1 << 20  # values ranked at a time
# Units below which a mean gets no interval: that of two scores easily spans more than the whole scale.
FEWEST = 4
PERCENTILES = (5, 25, 50, 75, 95)
KEY = ["model", "layer", "unit", "condition"]
MODEL_COLUMNS = [
    "model",
    "backend",
    "role",
    "series",
    "step",
    "last",
    "n_units",
    "n_constant",
    "mis_mean",
    "mis_low",
    "mis_high",
    "mis_sd",
    *(f"p{level}" for level in PERCENTILES),
    "accuracy_mean",
    "margin_mean",
    "top1",
    "params",
    "input_size",
    "tail_share",
]
LAYER_COLUMNS = [
    "model",
    "backend",
    "layer",
    "layer_type",
    "layer_index",
    "depth",
    "width",
    "n_units",
    "mis_mean",
    "mis_se",
]
LAYER_TYPE_COLUMNS = [
    "model",
    "backend",
    "layer_type",
    "n_units",
    "mis_mean",
    "mis_se",
    "mis_low",
    "mis_high",
]
BACKEND_COLUMNS = [
    "backend",
    "slope",
    "slope_low",
    "slope_high",
    "status",
    "n_units",
    "mis_mean",
    "accuracy_mean",
    "margin_mean",
    "margin_sd",
    "spearman_lead",
    "mean_diff_lead",
    "mean_abs_diff_lead",
    "n_annotated",
    "pearson_his",
    "spearman_his",
    "pearson_his_minus_lead",
    "pearson_his_minus_lead_low",
    "pearson_his_minus_lead_high",
    "n_forwards",
    "n_pairs",
]
HIS_COLUMNS = ["model", "condition", "n_units", "his_mean", "low", "high", "people_low", "people_high"]
AGREEMENT_COLUMNS = [
    *("first", "second", "n_units", "spearman", "mean_diff", "mean_diff_low", "mean_diff_high", "mean_abs_diff"),
]  # fmt: skip
TOTAL_COLUMNS = ["n_units", "mis_mean", "accuracy_mean", "margin_mean", "n_tasks", "task_margin", "task_squares"]
TRAINING_COLUMNS = ["model", "series", "backend", "step", "top1", "mis_mean", "mis_low", "mis_high"]


def mean_interval(
    mean: NDArray[np.floating], sd: NDArray[np.floating], n: NDArray[np.integer], confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the interval of means of n values with standard deviation sd (ddof 1); NaN for n < FEWEST."""
    n = np.asarray(n, dtype=np.float64)
    enough = np.maximum(n, FEWEST)
    reach = stats.t.ppf((1 + confidence) / 2, enough - 1) * np.asarray(sd, np.float64) / np.sqrt(enough)
    reach = np.where(n >= FEWEST, reach, np.nan)
    return np.asarray(mean) - reach, np.asarray(mean) + reach


def mis_means(units: pd.DataFrame, by: list[str], confidence: float) -> pd.DataFrame:
    """n_units, mis_mean, mis_sd, mis_se (sd / sqrt n), mis_low, mis_high of groups of units."""
    groups = units.groupby(by, sort=False, observed=True)["mis"]
    table = groups.agg(n_units="size", mis_mean="mean", mis_sd="std").reset_index()
    table["mis_se"] = table["mis_sd"] / np.sqrt(table["n_units"])
    table["mis_low"], table["mis_high"] = mean_interval(
        table["mis_mean"].to_numpy(), table["mis_sd"].to_numpy(), table["n_units"].to_numpy(), confidence
    )
    return table


def model_summary(
    units: pd.DataFrame, roster: pd.DataFrame, constant: pd.Series, tail_share: float, confidence: float
) -> pd.DataFrame:
    """Distribution of the scores in every network and step, with the facts of the roster: MODEL_COLUMNS.

    `units`: model, backend, mis, accuracy, margin_mean; `constant` names the network of every constant unit;
    `tail_share` is the share of images on each side from which tasks are built: levels compare only where it
    is equal. Rows in the order of the roster, networks without scored units are absent.
    """
    by = ["model", "backend"]
    table = mis_means(units, by, confidence)
    groups = units.groupby(by, sort=False, observed=True)
    levels = groups["mis"].quantile([level / 100 for level in PERCENTILES]).unstack()
    levels.columns = [f"p{level}" for level in PERCENTILES]
    means = groups.agg(accuracy_mean=("accuracy", "mean"), margin_mean=("margin_mean", "mean"))
    table = table.merge(levels.reset_index(), on=by).merge(means.reset_index(), on=by)
    facts = roster.rename(columns={"name": "model", "n_params": "params"})
    facts = facts[["model", "role", "series", "step", "last", "top1", "params", "input_size"]]
    table = table.astype({"model": object, "backend": object}).merge(facts, on="model", how="left")
    table["n_constant"] = table["model"].map(constant.value_counts()).fillna(0).astype(int)
    table["tail_share"] = tail_share
    place = table["model"].map({name: place for place, name in enumerate(roster["name"])})
    return table.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)[MODEL_COLUMNS]


def his_summary(
    people: pd.DataFrame, seed: int, n_bootstrap: int, confidence: float, responses: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Human Interpretability Score of every network and condition: HIS_COLUMNS, sorted.

    `people`: model, condition, his, one row a unit. his_mean is the unweighted mean of the units' scores; low and high are
    its bias-corrected and accelerated bootstrap interval over units, as in the analysis of IMI. NaN below FEWEST units
    and where all units score the same. The interval speaks of other units answered by these people; people differ and
    answer many units each, so with other people it covers in 88 to 92 % of simulated studies (benchmarks/coverage.py).
    people_low and people_high, from `responses` (key, participant, correct), are for other units and other people, see
    `components.mean_of_networks` (95 %).
    Departure: IMI does not seed its bootstrap; here the draws are keyed by seed, network and condition. The second
    interval is ours.
    """
    rows = []
    for (model, condition), units in people.groupby(["model", "condition"], sort=True, observed=True):
        his = np.sort(units["his"].to_numpy(np.float64))
        low = high = float("nan")
        if len(his) >= FEWEST and np.ptp(his) > 0:
            draw = generator(seed, "his interval", str(model), str(condition))
            found = stats.bootstrap(
                (his,), np.mean, n_resamples=n_bootstrap, confidence_level=confidence, method="BCa", rng=draw
            )
            low, high = found.confidence_interval
        rows.append((model, condition, len(his), his.mean(), low, high))
    table = pd.DataFrame(rows, columns=HIS_COLUMNS[:-2])
    if responses is None or not len(table):
        return table.reindex(columns=HIS_COLUMNS)
    wider = components.mean_of_networks(responses, confidence).rename(
        columns={"low": "people_low", "high": "people_high"}
    )
    return table.merge(wider, on=["model", "condition"], how="left")


def layer_summary(units: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Mean MIS of every layer and its standard error over units: LAYER_COLUMNS."""
    by = ["model", "backend", "layer", "layer_type", "layer_index", "depth", "width"]
    return mis_means(units, by, confidence)[LAYER_COLUMNS]


def layer_type_summary(units: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Mean MIS over all units of every layer type of a network: LAYER_TYPE_COLUMNS."""
    return mis_means(units, ["model", "backend", "layer_type"], confidence)[LAYER_TYPE_COLUMNS]


def backend_totals(units: pd.DataFrame) -> dict[str, float]:
    """What `backend_summary` needs of one network: TOTAL_COLUMNS.

    `units`: mis, accuracy, margin_mean, margin_sd, n_tasks. n_tasks counts all tasks; task_margin is the mean margin over
    them and task_squares the sum of squared deviations from it.
    """
    margins, tasks = units["margin_mean"].to_numpy(np.float64), units["n_tasks"].to_numpy(np.float64)
    spread = units["margin_sd"].to_numpy(np.float64)
    row = {"n_units": len(units), "n_tasks": tasks.sum()}
    row |= {name: units[name.removesuffix("_mean")].mean() for name in ("mis_mean", "accuracy_mean")}
    mean = np.average(margins, weights=tasks) if len(units) else np.nan
    squares = ((tasks - 1) * spread**2)[tasks > 1].sum() + (tasks * (margins - mean) ** 2).sum()
    return {
        **row,
        "margin_mean": margins.mean() if len(units) else np.nan,
        "task_margin": mean,
        "task_squares": squares,
    }


def backend_summary(
    backend: str, totals: pd.DataFrame, lead: pd.Series | None, slope: dict[str, object], cost: dict[str, int]
) -> pd.DataFrame:
    """One backend's scores and their agreement with the leading backend: one row of BACKEND_COLUMNS.

    `totals`: TOTAL_COLUMNS of every ranked network; `lead`: the row of `backend_agreement` with the leading backend as
    first, None for that one itself; `slope`: slope, low, high, status. margin_sd of the row is over all tasks of all
    units. `cost` is of the whole study: n_forwards, passes of pictures through the network of the similarity if every
    picture passes once a block of units (once at all if it is embedded), and n_pairs, the pairs of pictures that tasks
    ask about; each would cost two passes in a call of its own. The columns on HIS are left to `with_people`.
    """
    row: dict[str, object] = {f"slope_{end}": slope[end] for end in ("low", "high")}
    row |= {"slope": slope["slope"], "status": slope["status"], "n_units": int(totals["n_units"].sum()), **cost}
    row |= {"backend": backend, "margin_sd": np.nan, "spearman_lead": np.nan}
    if row["n_units"]:
        weighted = {name: np.average(totals[name], weights=totals["n_units"]) for name in _MEANS}
        row |= weighted | {"spearman_lead": 1.0, "mean_diff_lead": 0.0, "mean_abs_diff_lead": 0.0}
    if lead is not None:
        row |= {f"{name}_lead": lead[name] for name in ("spearman", "mean_diff", "mean_abs_diff")}
    n_tasks = totals["n_tasks"].sum()
    if n_tasks > 1:
        mean = np.average(totals["task_margin"], weights=totals["n_tasks"])
        between = (totals["n_tasks"] * (totals["task_margin"] - mean) ** 2).sum()
        row["margin_sd"] = np.sqrt((totals["task_squares"].sum() + between) / (n_tasks - 1))
    return pd.DataFrame([row], columns=BACKEND_COLUMNS)


_MEANS = ("mis_mean", "accuracy_mean", "margin_mean")


def with_people(backends: pd.DataFrame, agreed: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """The table of backends with their agreement with people over units outside the calibration split.

    `agreed` is the table of agreement, `differences` that of its differences: pearson_his_minus_lead is the correlation
    less that of the leading backend, the first row.
    """
    kept = agreed[(agreed["level"] == "unit") & (agreed["units"] == "outside_split")].set_index("backend")
    table = backends.copy()
    for column, name in (("n_annotated", "n"), ("pearson_his", "pearson"), ("spearman_his", "spearman")):
        table[column] = table["backend"].map(kept[name])
    pairs = differences.query("level == 'unit' and units == 'outside_split' and coefficient == 'pearson'")
    pairs = pairs[pairs["first"] == table["backend"].iloc[0]].set_index("second")
    # the lead is first in a pair, so signs and ends turn
    for column, name in (("", "difference"), ("_low", "high"), ("_high", "low")):
        table[f"pearson_his_minus_lead{column}"] = -table["backend"].map(pairs[name]).astype(np.float64)
    return table.astype({"n_annotated": "Int64"})


def backend_agreement(
    first: str, second: str, pairs: Iterable[tuple[pd.DataFrame, pd.DataFrame]], confidence: float
) -> pd.DataFrame:
    """Agreement of two backends on the same units: one row of AGREEMENT_COLUMNS.

    `pairs` gives the units of one network after the other under either backend: key and mis. spearman is the rank
    correlation of mis over all units that both have, NaN below three or if one is constant; mean_diff (with the interval
    of a mean over units) and mean_abs_diff are of mis, second minus first.
    """
    sides: tuple[list[NDArray[np.float64]], ...] = ([], [])
    for pair in pairs:
        for side, values in zip(sides, _paired(*pair), strict=True):
            side.append(values.copy())
    one = np.concatenate([*sides[0], np.empty(0)])
    sides[0].clear()  # half of the memory that the next step needs
    other = np.concatenate([*sides[1], np.empty(0)])
    sides[1].clear()
    n = len(one)
    difference = other - one
    mean, sd = (difference.mean(), difference.std(ddof=1)) if n > 1 else (np.nan, np.nan)
    low, high = mean_interval(np.array([mean]), np.array([sd]), np.array([n]), confidence)
    far = np.abs(difference, out=difference).mean() if n else np.nan
    del difference
    row = (first, second, n, rank_correlation(one, other), mean, low[0], high[0], far)
    return pd.DataFrame([row], columns=AGREEMENT_COLUMNS)


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman correlation (mean ranks for ties) of two long vectors; NaN below three values or if one is constant.

    Both vectors are overwritten: beside them there is room for one copy only where there are 70 million pairs.
    """
    n = len(first)
    if n < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    for values in (first, second):
        _rank_in_place(values)
    return float((first @ second) / np.sqrt((first @ first) * (second @ second)))


def _rank_in_place(values: NDArray[np.float64]) -> None:
    """Replace values by their ranks minus the mean rank."""
    ordered = np.sort(values)
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        order = np.argsort(block)  # neighbours in a search are neighbours in memory
        below = np.searchsorted(ordered, block[order], "left")
        up_to = np.searchsorted(ordered, block[order], "right")
        block[order] = (below + up_to - len(values)) / 2


def _paired(first: pd.DataFrame, second: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of the units that both tables have."""
    same_rows = len(first) == len(second) and all(
        np.array_equal(first[name].to_numpy(), second[name].to_numpy()) for name in KEY
    )
    if not same_rows:
        pair = first[[*KEY, "mis"]].merge(second[[*KEY, "mis"]], on=KEY)
        return pair["mis_x"].to_numpy(np.float64), pair["mis_y"].to_numpy(np.float64)
    return first["mis"].to_numpy(np.float64), second["mis"].to_numpy(np.float64)


def training_summary(models: pd.DataFrame) -> pd.DataFrame:
    """Scores along the training of every studied series, from the table of networks: TRAINING_COLUMNS."""
    steps = models[(models["role"] == "study") & (models["series"] != "") & models["step"].notna()]
    return steps.sort_values(["series", "backend", "step"], kind="stable")[TRAINING_COLUMNS].reset_index(drop=True)


GAIN_COLUMNS = ["backend", "series", "n_units", "difference", "low", "high"]
ALL_SERIES = "(mean over series)"


def training_gain(units: pd.DataFrame, networks: Networks, backend: str, confidence: float) -> pd.DataFrame:
    """What training adds to MIS: last step minus step 0, unit by unit; one row a series and their mean.

    `units` of one backend. A unit is paired with itself at step 0, so differences between units cancel; units that
    are constant at either step are left out. The last row is the unweighted mean over series, its interval normal.
    """
    rows = []
    for fresh, series in networks.untrained.items():
        last = networks.last_of[series]
        pairs = units[units["model"] == last].merge(
            units[units["model"] == fresh], on=["layer", "unit", "condition"], suffixes=("", "_fresh")
        )
        change = (pairs["mis"] - pairs["mis_fresh"]).to_numpy()
        if len(change) > 1:
            rows.append((series, len(change), change.mean(), change.std(ddof=1) / np.sqrt(len(change))))
    table = pd.DataFrame(rows, columns=["series", "n_units", "difference", "error"])
    if len(table):
        error = np.sqrt((table["error"] ** 2).sum()) / len(table)
        table.loc[len(table)] = [ALL_SERIES, table["n_units"].sum(), table["difference"].mean(), error]
    reach = stats.norm.ppf(0.5 + confidence / 2) * table["error"]
    table["low"], table["high"] = table["difference"] - reach, table["difference"] + reach
    return table.assign(backend=backend)[GAIN_COLUMNS]


# ---- planted units
# --------------------------------------------------------------------------------------------------

CONTROL_COLUMNS = [
    "backend",
    "control",
    "factor",
    "rho",
    "n_units",
    "mis_mean",
    "mis_low",
    "mis_high",
    "z_sd",
    "passed",
    "expectation",
]
CHANCE = 0.5
# Controls pass within this many standard errors: with a few dozen rows a false alarm stays rare.
TOLERANCE = 3.0
# A factor counts as seen beyond this many: it is asked of every factor and backend, and a false yes judges noise.
SEEN = 5.0
_AT_CHANCE = ("hash", "hash_rectified")
_COPIES = ("duplicate", "negated")
_MIXTURE = r"^(mixture(?:_rectified)?)_(\d+(?:\.\d+)?)$"


def label_controls(
    units: pd.DataFrame,
    planted: Collection[str],
    permuted: dict[str, str],
    untrained: dict[str, str],
    labels: pd.DataFrame,
) -> pd.DataFrame:
    """The control units with four more columns: label, control, factor ('' for none), rho (NaN for none).

    planted    networks of planted units: their layers are the controls; `labels` (model, layer, unit, label) says what
               a unit is made of, and `factor` names the factors in it (see `controls.label_factors`), joined by |
    permuted   chance network -> the network whose activations it permutes; control `permuted:NETWORK`
    untrained  step 0 of a series -> the series; control `untrained:SERIES`
    """
    model = units["model"].astype(object)
    kept = units[model.isin(planted) | model.isin(permuted) | model.isin(untrained)]
    kept = kept.astype({"model": object, "layer": object})
    kept = kept.merge(labels[["model", "layer", "unit", "label"]], on=["model", "layer", "unit"], how="left")
    named = {name: f"permuted:{of}" for name, of in permuted.items()}
    named |= {name: f"untrained:{of}" for name, of in untrained.items()}
    kept["label"] = kept["label"].fillna("").astype(object)
    kept["control"] = kept["layer"].where(kept["model"].isin(planted), kept["model"].map(named))
    kept["factor"] = kept["label"].map(lambda label: "|".join(label_factors(label)))
    kept["rho"] = pd.to_numeric(kept["control"].str.extract(_MIXTURE)[1])
    return kept


def controls_summary(controls: pd.DataFrame, n_constant: int, confidence: float) -> pd.DataFrame:
    """What every planted or chance control scored and whether that is as expected: CONTROL_COLUMNS.

    `controls`: columns of `label_controls`, backend, mis, mis_se, n_tasks. `n_constant` planted units were
    set aside as constant. One row a control over all its factors (factor ''), and for factor units and
    mixtures one a factor too.

    z_sd is the standard deviation over units of (mis - 0.5) / mis_se: for units at chance about
    sqrt((N - 1) / (N - 3)), that of Student's t over N tasks, if mis_se tells the truth. Missing elsewhere: a unit
    whose tasks are all sure has a standard error near zero.
    passed is 1 or 0 where something is expected, otherwise missing:
    hash, hash_rectified, permuted   mean at 0.5 within 3 standard errors
    mixtures                         mean over the factors that the backend sees rises strictly with rho, asked only
                                     where it sees most of them; for a single factor it falls nowhere by more than 3
                                     standard errors. A backend sees a factor if its units with rho = 1 are above
                                     0.5 by more than 5 standard errors. These are those of the tasks, because a
                                     factor has few units
    duplicate, negated               mean equals that of the units they copy within 3 standard errors
    constant                         set aside, not scored
    """
    rows = []
    for backend in pd.unique(controls["backend"]):
        of_backend = controls[controls["backend"] == backend]
        table = _control_rows(of_backend, confidence)
        table = _judge_chance(table, _task_number(of_backend))
        table = _judge_mixtures(table)
        table = _judge_copies(table, of_backend)
        table = _judge_constant(table, n_constant)
        table.insert(0, "backend", backend)
        rows.append(table)
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=CONTROL_COLUMNS)
    return table[CONTROL_COLUMNS].astype({"passed": "Int64"})


def dose_response_rises(table: pd.DataFrame, backend: str) -> bool | None:
    """Whether the mixtures over all factors passed at every rho; None where nothing was expected."""
    pooled = table[table["control"].str.fullmatch(r"mixture_\d+(?:\.\d+)?") & (table["factor"] == "")]
    passed = pooled.loc[pooled["backend"] == backend, "passed"].dropna()
    return bool(passed.all()) if len(passed) else None


def at_chance(control: pd.Series) -> pd.Series:
    """Mask of the controls that no similarity should be able to solve."""
    return control.isin(_AT_CHANCE) | control.str.startswith("permuted:")


def _control_rows(units: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Rows without verdict, in the order of first appearance, mixtures by rho."""
    per_factor = units[(units["control"] == "factor") | units["rho"].notna()]
    parts = [units.assign(factor=""), per_factor[per_factor["factor"] != ""]]
    stacked = pd.concat(parts, ignore_index=True)
    stacked["deviation"] = (stacked["mis"] - CHANCE) / stacked["mis_se"].where(stacked["mis_se"] > 0)
    table = mis_means(stacked, ["control", "factor"], confidence)
    groups = stacked.assign(square=stacked["mis_se"] ** 2).groupby(["control", "factor"], sort=False)
    more = groups.agg(rho=("rho", "first"), z_sd=("deviation", "std"), square=("square", "sum")).reset_index()
    table = table.merge(more, on=["control", "factor"])
    by_chance = at_chance(table["control"]) | (table["rho"] == 0.0)
    table["z_sd"] = table["z_sd"].where(by_chance)
    table["task_se"] = np.sqrt(table.pop("square")) / table["n_units"]
    table["family"] = table["control"].str.extract(_MIXTURE)[0].fillna(table["control"])
    first = {family: place for place, family in enumerate(pd.unique(table["family"]))}
    place = table["family"].map(first)
    table = table.iloc[np.lexsort((table["rho"].fillna(0.0), table["factor"], place))].reset_index(drop=True)
    table["passed"] = pd.array([pd.NA] * len(table), dtype="Int64")
    table["expectation"] = ""
    return table


def _task_number(units: pd.DataFrame) -> int:
    return int(units["n_tasks"].max())


def _judge_chance(table: pd.DataFrame, n_tasks: int) -> pd.DataFrame:
    chance = at_chance(table["control"])
    text = f"{CHANCE:g} within {TOLERANCE:g} standard errors"
    if n_tasks > 3:
        text += f"; z_sd near {np.sqrt((n_tasks - 1) / (n_tasks - 3)):.3g}"
    error = table["mis_se"].where(table["n_units"] > 1, table["task_se"])
    near = (table["mis_mean"] - CHANCE).abs() <= TOLERANCE * error
    table.loc[chance, "passed"] = near[chance].astype("Int64")
    table.loc[chance, "expectation"] = text
    return table


def _judge_mixtures(table: pd.DataFrame) -> pd.DataFrame:
    for _, family in table[table["rho"].notna()].groupby("family", sort=False):
        full = family[(family["rho"] == 1.0) & (family["factor"] != "")]
        seen = full["factor"][full["mis_mean"] - CHANCE > SEEN * full["task_se"]].tolist()
        visible = family[family["factor"].isin(seen)]
        weighted = (visible["mis_mean"] * visible["n_units"]).groupby(visible["rho"]).sum()
        pooled = (weighted / visible.groupby("rho")["n_units"].sum()).diff().iloc[1:] > 0
        count = f"{len(seen)} of {len(full)} factors"
        for factor, rows in family.groupby("factor", sort=False):
            if factor not in ("", *seen) or (factor == "" and 2 * len(seen) <= len(full)):
                text = "none: the backend does not see it" if factor else f"none: the backend sees {count}"
                table.loc[rows.index, "expectation"] = text
                continue
            slack = TOLERANCE * np.hypot(rows["task_se"], rows["task_se"].shift()).iloc[1:]
            clear = rows["mis_mean"].diff().iloc[1:] >= -slack
            later = rows.index[1:]
            table.loc[later, "passed"] = (clear if factor else pooled).astype("Int64").to_numpy()
            table.loc[later, "expectation"] = (
                f"not below the smaller rho by more than {TOLERANCE:g} standard errors"
                if factor
                else f"above the smaller rho over the {count} that the backend sees"
            )
    return table


def _judge_copies(table: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    # several draws of a mixture share a label; the first one was copied
    sources = units.sort_values("unit", kind="stable").drop_duplicates(["layer", "label"])
    sources = sources.assign(label=sources["layer"] + "/" + sources["label"])[["label", "mis", "mis_se"]]
    for control in _COPIES:
        copies = units[units["control"] == control].merge(sources, on="label", suffixes=("", "_source"))
        if not len(copies):
            continue
        place = table["control"] == control
        difference = (copies["mis"] - copies["mis_source"]).mean()
        spread = np.sqrt((copies["mis_se"] ** 2 + copies["mis_se_source"] ** 2).sum()) / len(copies)
        table.loc[place, "passed"] = int(abs(difference) <= TOLERANCE * spread)
        mean = copies["mis_source"].mean()
        table.loc[place, "expectation"] = f"{mean:.3g}, the units it copies, within {TOLERANCE:g} standard errors"
    return table


def _judge_constant(table: pd.DataFrame, n_constant: int) -> pd.DataFrame:
    scored = table["control"] == "constant"
    if not scored.any() and not n_constant:
        return table
    row = {
        "control": "constant",
        "factor": "",
        "n_units": int(table.loc[scored, "n_units"].sum()),
        "passed": int(not scored.any()),
        "expectation": "set aside as constant, not scored",
    }
    return pd.concat([table[~scored], pd.DataFrame([row]).astype({"passed": "Int64"})], ignore_index=True)


@dataclass(frozen=True)
class Networks:
    """Names of a roster by what they are for.

    study: studied networks with all their training steps; ranked: those at their last step; planted: control units;
    permuted: chance network -> the one it permutes; untrained: network at step 0 -> its series; last_of: series ->
    its network at the last step.
    """

    study: list[str]
    ranked: list[str]
    planted: list[str]
    permuted: dict[str, str]
    untrained: dict[str, str]
    last_of: dict[str, str]


def networks_of(roster: pd.DataFrame) -> Networks:
    """Names of a resolved roster by role: name, constructor, kwargs, role, series, step (number or missing), last."""
    study = roster["role"] == "study"
    chance = roster["constructor"] == "control:permuted"
    planted = (roster["role"] == "control") & roster["constructor"].str.startswith("control:") & ~chance
    fresh = roster[study & roster["step"].eq(0).fillna(False) & (roster["series"] != "")]
    finished = roster[study & (roster["last"] == 1) & (roster["series"] != "")]
    return Networks(
        study=list(roster["name"][study]),
        ranked=list(roster["name"][study & (roster["last"] == 1)]),
        planted=list(roster["name"][planted]),
        permuted={row["name"]: json.loads(row["kwargs"])["of"] for row in roster[chance].to_dict("records")},
        untrained=dict(zip(fresh["name"], fresh["series"], strict=True)),
        last_of=dict(zip(finished["series"], finished["name"], strict=True)),
    )


# metrics.json holds at most 25 numbers, so only the first backends are named there
_NAMED_BACKENDS = 4


def overview(scores: Sequence[NDArray[np.floating]]) -> dict[str, float]:
    """Number of networks and units, mean and outer percentiles of the scores of ranked networks, one array each."""
    values = np.concatenate([*scores, np.empty(0)])
    found = {"n_models": len(scores), "n_units": len(values)}
    if not len(values):
        return found
    p5, p95 = np.quantile(values, [0.05, 0.95], overwrite_input=True)
    return found | {"mis_mean": values.mean(), "mis_p5": p5, "mis_p95": p95}


def headline(
    tables: dict[str, pd.DataFrame], backends: Sequence[str], lead: Mapping[str, float], n_images: int
) -> dict[str, float | int]:
    """At most 25 numbers that say how the study went; what is not defined is left out.

    `tables` by name; `lead` is the `overview` of the first backend. Agreement is that outside the calibration split,
    ceiling and share are over all conditions, failed controls count over all backends.
    """
    first = backends[0]
    controls, ceilings, agreed = tables["controls"], tables["noise_ceiling"], tables["agreement"]
    slopes = tables["calibration"].set_index("backend")["slope"]
    outside = agreed[agreed["units"] == "outside_split"].set_index(["level", "backend"])["pearson"]
    hashes = controls[(controls["control"] == "hash") & (controls["backend"] == first)]
    leading = ceilings[(ceilings["variant"] == "V4") & (ceilings["subset"] == "all")].set_index("backend")
    found: dict[str, float | int | None] = {
        "n_images": n_images,
        **lead,
        "n_failed": len(tables["failures"]),
        "pearson_unit_within": outside.get(("unit_within", first)),
        "ceiling_v4": leading["mean"].get(""),
        "share_of_ceiling": leading["share"].get(first),
        "hash_mis": hashes["mis_mean"].mean(),
        "hash_z_sd": hashes["z_sd"].mean(),
        "dose_response_rising": dose_response_rises(controls, first),
        "controls_failed": int((controls["passed"] == 0).sum()) if len(controls) else None,
    }
    gain = tables["training_gain"].query("backend == @first and series == @ALL_SERIES")
    if len(gain):
        names = {"": "difference", "_low": "low", "_high": "high"}
        found |= {f"trained_minus_untrained{name}": gain[column].iloc[0] for name, column in names.items()}
    for backend in backends[:_NAMED_BACKENDS]:
        found |= {f"slope_{backend}": slopes[backend], f"pearson_unit_{backend}": outside.get(("unit", backend))}
    known = {name: value for name, value in found.items() if value is not None and np.isfinite(value)}
    return {name: int(value) if isinstance(value, int | np.integer) else float(value) for name, value in known.items()}
