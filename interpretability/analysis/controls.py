"""Judgements of planted units and permuted networks: what a sound score must say of them, and whether it does."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from interpretability.analysis.networks import mis_means
from interpretability.schema import UNIT
from interpretability.synthetic.factors import label_factors

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
    first = {family: position for position, family in enumerate(pd.unique(table["family"]))}
    positions = table["family"].map(first)
    table = table.iloc[np.lexsort((table["rho"].fillna(0.0), table["factor"], positions))].reset_index(drop=True)
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
