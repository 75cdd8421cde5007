"""Judgements of planted units and permuted networks: what a sound score must say of them, and whether it does."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from interpretability.analysis.networks import mis_means
from interpretability.schema import UNIT
from interpretability.synthetic.factors import label_factors
from interpretability.synthetic.planted_units import DEALT_RHO, EXTREMES_EXCHANGED, MIDDLE_REDEALT

CONTROL_COLUMNS = [
    "backend",
    "control",
    "factor",
    "rho",
    "n_units",
    "mis_mean",
    "mis_low",
    "mis_high",
    "n_z",
    "z_sd",
    "z_low",
    "z_high",
    "passed",
    "expectation",
    "missed",
]
CHANCE = 0.5
# Controls pass within this many standard errors: with a few dozen rows a false alarm stays rare.
TOLERANCE = 3.0
# Tasks a unit at which z_sd is not checked: Student's t over them has no fourth moment, so its spread has no error.
TOO_FEW_TASKS = 5
# Distance of mis from 0 or 1 below which a unit is sure of all its tasks: its mis_se is zero however wrong it is.
SURE = 1e-3
# All units that no similarity can solve, planted ones of any kind, as one control.
POOLED = "chance_pooled"
# A factor counts as seen beyond this many: it is asked of every factor and backend, and a false yes judges noise.
SEEN = 5.0
_AT_CHANCE = ("hash", "hash_rectified", EXTREMES_EXCHANGED)
# The extremes of these units are those of a mixture: their scores differ by the dealing of images to tasks alone.
_SAME_EXTREMES, SAME = (MIDDLE_REDEALT, f"mixture_{DEALT_RHO:g}"), 0.01
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
    kept = kept.merge(labels[[*UNIT, "label"]], on=UNIT, how="left")
    named = {name: f"permuted:{of}" for name, of in permuted.items()}
    named |= {name: f"untrained:{of}" for name, of in untrained.items()}
    kept["label"] = kept["label"].fillna("").astype(object)
    kept["control"] = kept["layer"].where(kept["model"].isin(planted), kept["model"].map(named))
    kept["factor"] = kept["label"].map(lambda label: "|".join(label_factors(label)))  # pyright: ignore[reportArgumentType]
    kept["rho"] = pd.to_numeric(kept["control"].str.extract(_MIXTURE)[1])
    return kept


def controls_summary(controls: pd.DataFrame, n_constant: int, confidence: float) -> pd.DataFrame:
    """What every planted or chance control scored and whether that is as expected: CONTROL_COLUMNS.

    `controls`: columns of `label_controls`, backend, mis, mis_se, n_tasks. `n_constant` planted units were
    set aside as constant. One row a control over all its factors (factor ''), and for factor units and
    mixtures one a factor too. POOLED is the units of hash, hash_rectified, extremes_exchanged and the mixtures with rho = 0
    together, where a study has two of these or more.

    z_sd is the standard deviation over units (ddof 1) of (mis - 0.5) / mis_se, for controls at chance; elsewhere it is
    missing, as a unit whose tasks are all sure has a standard error near zero. n_z units enter: those with
    more than TOO_FEW_TASKS tasks and a spread between them. Two kinds of units have none, count in the mean and not in
    z_sd: where all margins are equal, mis_se is zero or undefined and says nothing; where every task is sure (mis
    within SURE of 0 or 1: a steep slope and few tasks), the tasks are no sample of a bell curve, and z_sd is not
    checked at all. z_low and z_high bound it, see `spread_bounds`.

    passed is 1 or 0 where something is expected, otherwise missing; missed names what did not come out as
    it should (mean, z_sd or both), empty where passed is 1:
    hash, hash_rectified, permuted,  mean at 0.5 within 3 standard errors, and z_sd within its bounds
    extremes_exchanged,
    chance_pooled
    middle_redealt                   mean equals that of the mixture with the same extremes within SAME, or 3 standard errors
    mixtures                         mean over the factors that the backend sees rises strictly with rho, asked only
                                     where it sees most of them; for a single factor it falls nowhere by more than 3
                                     standard errors. A backend sees a factor if its units with rho = 1 are above
                                     0.5 by more than 5 standard errors. These are those of the tasks, because a
                                     factor has few units. With rho = 0 they are judged in chance_pooled alone
    duplicate, negated               mean equals that of the units they copy within 3 standard errors
    constant                         set aside, not scored
    """
    rows = []
    for backend in pd.unique(controls["backend"]):
        of_backend = controls[controls["backend"] == backend]
        table = _control_rows(of_backend, confidence)
        table = _judge_mixtures(table)
        table = _judge_chance(table)
        table = _judge_copies(table, of_backend)
        table = _judge_same_extremes(table, of_backend)
        table = _judge_constant(table, n_constant)
        table.insert(0, "backend", backend)
        rows.append(table)
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=CONTROL_COLUMNS)
    table["missed"] = table["missed"].mask(table["passed"].isna() | (table["passed"] == 1), "")
    return table[CONTROL_COLUMNS].astype({"passed": "Int64", "n_z": "Int64"})


def spread_bounds(n_tasks: ArrayLike) -> tuple[float, float]:
    """Ends between which z_sd lies for units at chance whose mis_se tells the truth; one number of tasks a unit, all above 5.

    The mean of N tasks in its own standard errors follows Student's t with N - 1 degrees of freedom, of variance
    v = (N - 1) / (N - 3) and kurtosis k = 3 + 6 / (N - 5). So z_sd is expected at sqrt(v), and over n units its
    relative standard error is about sqrt((k - 1) / (4 n)) = sqrt((2 + 6 / (N - 5)) / (4 n)); bounds are TOLERANCE of
    these on either side. For 20 tasks that is 1.057, 0.88 to 1.23 for 200 units. Where units have different
    numbers of tasks, their second and fourth moments are averaged.

    Simulated with 20 tasks, sound scores leave the bounds in .3 to .4 % of studies where the sigmoid is nearly straight
    (probabilities of sd .1, 200 and 912 units), in .4 to .6 % where it bends them (sd .2), and in 1.4 % where all
    of them are 0 or 1; of bell curves themselves in .3 %, and with 6 to 12 tasks in .2 to .7 %.

    >>> [round(end, 3) for end in spread_bounds([20] * 200)]
    [0.883, 1.231]
    """
    tasks = np.asarray(n_tasks, dtype=np.float64)
    if not tasks.size or tasks.min() <= TOO_FEW_TASKS:
        return float("nan"), float("nan")
    variances = (tasks - 1) / (tasks - 3)
    variance = variances.mean()
    kurtosis = (variances**2 * (3 + 6 / (tasks - 5))).mean() / variance**2
    reach = TOLERANCE * np.sqrt((kurtosis - 1) / (4 * tasks.size))
    expected = np.sqrt(variance)
    return float(expected * (1 - reach)), float(expected * (1 + reach))


def dose_response_rises(table: pd.DataFrame, backend: str) -> bool | None:
    """Whether the mixtures over all factors passed at every rho; None where nothing was expected."""
    pooled = table[table["control"].str.fullmatch(r"mixture_\d+(?:\.\d+)?") & (table["factor"] == "")]
    passed = pooled.loc[pooled["backend"] == backend, "passed"].dropna()
    return bool(passed.all()) if len(passed) else None


def at_chance(control: pd.Series) -> pd.Series:
    """Mask of the controls that no similarity should be able to solve."""
    return control.isin((*_AT_CHANCE, POOLED)) | control.str.startswith("permuted:")


def _control_rows(units: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Rows without verdict, in the order of first appearance, mixtures by rho, and POOLED at the end."""
    per_factor = units[(units["control"] == "factor") | units["rho"].notna()]
    chance = units[units["control"].isin(_AT_CHANCE) | (units["rho"] == 0.0)]
    parts = [units.assign(factor=""), per_factor[per_factor["factor"] != ""]]
    if chance["control"].nunique() > 1:
        parts.append(chance.assign(control=POOLED, factor="", rho=np.nan))
    stacked = pd.concat(parts, ignore_index=True)
    stacked["sure"] = (stacked["mis"] - CHANCE).abs() > CHANCE - SURE
    spread = (stacked["mis_se"] > 0) & (stacked["n_tasks"] > TOO_FEW_TASKS) & ~stacked["sure"]
    stacked["deviation"] = ((stacked["mis"] - CHANCE) / stacked["mis_se"]).where(spread)
    table = mis_means(stacked, ["control", "factor"], confidence)
    groups = stacked.assign(square=stacked["mis_se"] ** 2).groupby(["control", "factor"], sort=False)
    more = groups.agg(
        rho=("rho", "first"),
        n_z=("deviation", "count"),
        z_sd=("deviation", "std"),
        square=("square", "sum"),
        n_sure=("sure", "sum"),
    )
    more[["z_low", "z_high"]] = [spread_bounds(own.loc[own["deviation"].notna(), "n_tasks"]) for _, own in groups]
    table = table.merge(more.reset_index(), on=["control", "factor"])
    by_chance = at_chance(table["control"]) | (table["rho"] == 0.0)
    table[["n_z", "z_sd"]] = table[["n_z", "z_sd"]].where(by_chance)
    table[["z_low", "z_high"]] = table[["z_low", "z_high"]].where(at_chance(table["control"]))
    table["task_se"] = np.sqrt(table.pop("square")) / table["n_units"]
    table["family"] = table["control"].str.extract(_MIXTURE)[0].fillna(table["control"])
    first = {family: position for position, family in enumerate(pd.unique(table["family"]))}
    positions = table["family"].map(first)
    table = table.iloc[np.lexsort((table["rho"].fillna(0.0), table["factor"], positions))].reset_index(drop=True)
    table["passed"] = pd.array([pd.NA] * len(table), dtype="Int64")
    table["expectation"] = ""
    table["missed"] = "mean"
    return table


def _judge_chance(table: pd.DataFrame) -> pd.DataFrame:
    chance = at_chance(table["control"])
    error = table["mis_se"].where(table["n_units"] > 1, table["task_se"])
    near = (table["mis_mean"] - CHANCE).abs() <= TOLERANCE * error
    # without bounds, or with one unit, there is no spread to be wrong
    checked = table["z_low"].notna() & table["z_sd"].notna() & (table["n_sure"] == 0)
    table[["z_low", "z_high"]] = table[["z_low", "z_high"]].where(checked)
    spread = table["z_sd"].between(table["z_low"], table["z_high"]) | ~checked
    table.loc[chance, "passed"] = (near & spread)[chance].astype("Int64")
    table.loc[chance & ~spread, "missed"] = "z_sd"
    table.loc[chance & ~spread & ~near, "missed"] = "mean and z_sd"
    for index in table.index[chance]:
        row = table.loc[index]
        text = f"mean {CHANCE:g} within {TOLERANCE:g} standard errors; z_sd "
        if checked[index]:
            low, high = row["z_low"], row["z_high"]
            text += f"near {(low + high) / 2:.3f} ({low:.3f} to {high:.3f})"
        else:
            text += f"not checked, {_unchecked(row)}"
        table.loc[index, "expectation"] = text
    pooled = (table["rho"] == 0.0) & (table["factor"] == "") & bool((table["control"] == POOLED).any())
    table.loc[pooled, "expectation"] = f"none: judged in {POOLED}"
    return table


def _unchecked(row: pd.Series) -> str:
    """Why the spread of a control is not held against its bounds."""
    if row["n_sure"]:
        return f"as {row['n_sure']} of the units are sure of every task"
    few = "one unit" if row["n_z"] else "no unit"
    return f"as {few} has a spread over more than {TOO_FEW_TASKS} tasks"


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
            slack = TOLERANCE * np.hypot(rows["task_se"], rows["task_se"].shift()).iloc[1:]  # pyright: ignore[reportAttributeAccessIssue]
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
        rows = table["control"] == control
        difference = (copies["mis"] - copies["mis_source"]).mean()
        spread = np.sqrt((copies["mis_se"] ** 2 + copies["mis_se_source"] ** 2).sum()) / len(copies)
        table.loc[rows, "passed"] = int(abs(difference) <= TOLERANCE * spread)
        mean = copies["mis_source"].mean()
        table.loc[rows, "expectation"] = f"{mean:.3g}, the units it copies, within {TOLERANCE:g} standard errors"
    return table


def _judge_same_extremes(table: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    first, second = (units.loc[units["control"] == name, ["unit", "mis", "mis_se"]] for name in _SAME_EXTREMES)
    both = first.merge(second, on="unit", suffixes=("", "_other"))
    if len(both):
        spread = np.sqrt((both["mis_se"] ** 2 + both["mis_se_other"] ** 2).sum()) / len(both)
        limit = max(SAME, TOLERANCE * spread)
        rows = table["control"] == _SAME_EXTREMES[0]
        table.loc[rows, "passed"] = int(abs((both["mis"] - both["mis_other"]).mean()) <= limit)
        table.loc[rows, "expectation"] = f"{both['mis_other'].mean():.3g}, as {_SAME_EXTREMES[1]}, within {limit:.2g}"
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
        "missed": "scored",
    }
    return pd.concat([table[~scored], pd.DataFrame([row]).astype({"passed": "Int64"})], ignore_index=True)
