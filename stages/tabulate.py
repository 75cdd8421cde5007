"""Tables of scored units, read one network at a time, so that their number does not set the memory.

Glue between files (stages.pipeline) and statistics (stages.science); the stage `stats` writes what comes out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.special import expit

from stages.pipeline.log import Progress, logger
from stages.pipeline.scored import Margins, Scored, matrix
from stages.pipeline.tables import KEY, read_json
from stages.science import (
    baselines,
    comparisons,
    conditions,
    correlates,
    difficulty,
    families,
    points,
    profiles,
    ranking,
    score,
    summaries,
)
from stages.science import trials as trials_of

log = logger("stats")
SLOPE_COLUMNS = ["backend", "slope", "temperature", "low", "high", "status", "n_units", "loss", "at_bound"]
LITERAL_COLUMNS = ["literal_mis_mean", "literal_mis_max"]
CONDITIONS = ("natural", "synthetic")  # those in which groups are compared

Tables = dict[str, pd.DataFrame]
Samples = Callable[[str], comparisons.Samples]


@dataclass(frozen=True)
class Facts:
    """What the tables of every backend need besides its units.

    layer_types: those of units.layer_types; people: units with HIS; bootstrap: seed, number of resamples, confidence;
    drop_near: tasks with a near copy are left out; n_extreme: units among the easiest and the hardest of a network.
    """

    roster: pd.DataFrame
    nets: summaries.Networks
    labels: pd.DataFrame
    constant: pd.DataFrame
    tail_share: float
    slopes: dict[str, dict[str, object]]
    layer_types: tuple[str, ...]
    people: pd.DataFrame
    bootstrap: tuple[int, int, float]
    drop_near: bool
    n_extreme: int

    @property
    def confidence(self) -> float:
        return self.bootstrap[2]

    @property
    def annotated(self) -> frozenset[str]:
        return frozenset(self.people["model"].astype(str))

    def listed(self, model: str, units: pd.DataFrame) -> pd.DataFrame:
        """Units of the listed layer types, of a studied or permuted network; all of a control.

        Taps are layers of few networks: with them, networks would be compared over other kinds of layers. They enter
        agreement and its ceiling alone.
        """
        if model not in {*self.nets.study, *self.nets.permuted}:
            return units
        kept = units["layer_type"].isin(self.layer_types)
        return units if kept.all() else units[kept]

    @property
    def families(self) -> dict[str, str]:
        return dict(zip(self.roster["name"], self.roster["family"], strict=True))


@dataclass
class Backend:
    """Tables of one backend, and what later tables need of its units.

    Of the ranked networks: easy, scores of their `easy_units`; scores, the same by condition; totals, `backend_totals`;
    means of layer types. rated: units of the networks that people annotated.
    """

    name: str
    tables: Tables = field(default_factory=dict)
    scores: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=lambda: defaultdict(dict))
    easy: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    totals: pd.DataFrame = field(default_factory=pd.DataFrame)
    rated: pd.DataFrame = field(default_factory=pd.DataFrame)
    means: pd.DataFrame = field(default_factory=pd.DataFrame)


_COLUMNS = {
    "models": summaries.MODEL_COLUMNS,
    "layers": summaries.LAYER_COLUMNS,
    "layer_types": summaries.LAYER_TYPE_COLUMNS,
    "conditions": difficulty.COLUMNS,
    "difficulty": conditions.PAIR_COLUMNS,
    "natural_synthetic": conditions.PAIR_COLUMNS,
    "ranking": ranking.COLUMNS,
    "extreme_units": ranking.EXTREME_COLUMNS,
    "convergence": profiles.CONVERGENCE_COLUMNS,
}
_RANKINGS = ("ranking", "extreme_units")
_BLOCK = 1 << 18  # units whose probabilities are in memory together


def easy_units(units: pd.DataFrame) -> pd.DataFrame:
    """Units with natural explanations and queries of the usual difficulty; all units of a network that has none."""
    easy = units["condition"] == conditions.NATURAL
    return units[easy] if easy.any() and not easy.all() else units


def read_backend(name: str, scored: Scored, margins: Margins, facts: Facts) -> Backend:
    """All tables of one backend. Rankings and tests concern ranked networks alone; layers those under study.

    Levels are those of `easy_units`: conditions are compared, never pooled.
    """
    nets, found = facts.nets, Backend(name)
    kept_whole = {*nets.planted, *nets.permuted, *nets.untrained, *(nets.last_of[s] for s in nets.untrained.values())}
    parts: dict[str, list[pd.DataFrame]] = defaultdict(list)
    totals, literal = [], []
    progress = Progress(log, len(facts.roster), f"{name}: networks")
    for model in facts.roster["name"]:
        units = scored.units(name, model)
        progress.step(note=model)
        if model in kept_whole:
            parts["whole"].append(easy_units(facts.listed(model, units)))
        if model in facts.annotated:
            parts["rated"].append(units)
        if units.empty:
            continue
        if model in facts.annotated or (units["condition"] != conditions.NATURAL).any():
            parts["conditions"].append(difficulty.by_condition(units, facts.people, facts.confidence))
        units = facts.listed(model, units)
        easy = easy_units(units)
        parts["models"].append(_model_row(model, easy, facts))
        if model in nets.study:
            parts["layers"].append(summaries.layer_summary(easy, facts.confidence))
        if model not in nets.ranked:
            continue
        parts["layer_types"].append(summaries.layer_type_summary(easy, facts.confidence))
        parts["means"].append(comparisons.type_means(units, "mis"))
        parts["difficulty"].append(conditions.difficulty(units, "mis", name, facts.confidence))
        parts["natural_synthetic"].append(conditions.natural_synthetic(units, "mis", name, facts.confidence))
        totals.append(summaries.backend_totals(easy))
        answered = _summarised(margins, model, facts)
        literal.append(_literal(answered))
        slope = float(facts.slopes[name]["slope"])  # type: ignore[arg-type]
        parts["convergence"].append(_convergence(answered, slope, facts.drop_near).assign(backend=name, model=model))
        halves = _half_scores(answered, slope, facts.drop_near)
        for table, rows in zip(
            _RANKINGS, ranking.rank_network(halves, name, facts.n_extreme, facts.bootstrap[0]), strict=True
        ):
            parts[table].append(rows)
        # copies: a column of a table would keep the whole table in memory
        found.easy[model] = easy["mis"].to_numpy(np.float64, copy=True)
        for condition in CONDITIONS:
            rows = units.loc[units["condition"] == condition, "mis"]
            whole = len(rows) == len(easy) and condition == easy["condition"].iloc[0]
            if len(rows):
                found.scores[condition][model] = found.easy[model] if whole else rows.to_numpy(np.float64, copy=True)
    blank = scored.units(name, "")
    whole, found.rated = (pd.concat([blank, *parts.pop(key, [])], ignore_index=True) for key in ("whole", "rated"))
    found.totals = pd.DataFrame(totals, columns=summaries.TOTAL_COLUMNS)
    found.means = pd.concat([comparisons.type_means(blank, "mis"), *parts.pop("means", [])], ignore_index=True)
    for table, columns in _COLUMNS.items():
        rows = parts.get(table)
        found.tables[table] = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)
    fitted = {**facts.slopes[name], "backend": name, **_pooled(found.totals, literal)}
    found.tables["calibration"] = pd.DataFrame([fitted], columns=[*SLOPE_COLUMNS, "mis_mean", *LITERAL_COLUMNS])
    found.tables["training_gain"] = summaries.training_gain(whole, nets, name, facts.confidence)
    controls = summaries.label_controls(whole, nets.planted, nets.permuted, nets.untrained, facts.labels)
    constant = facts.constant["model"].isin(nets.planted) & (facts.constant["layer"] == "constant")
    found.tables["controls"] = summaries.controls_summary(controls, int(constant.sum()), facts.confidence)
    found.tables |= _tests(lambda condition: found.scores.get(condition, {}), found.means, "mis", name, facts)
    return found


def _model_row(model: str, units: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    roster = facts.roster[facts.roster["name"] == model]
    constant = facts.constant[facts.constant["model"] == model]
    constant = facts.listed(model, constant) if len(constant) else constant  # of the layers that n_units counts
    return summaries.model_summary(units, roster, constant["model"], facts.tail_share, facts.confidence)


def _summarised(margins: Margins, model: str, facts: Facts) -> pa.Table:
    """Key, margins and marks of those units of a network that its levels are of."""
    answered = margins.rows([model], [*KEY, "layer_type", "margins", "near"])
    units = answered.select([*KEY, "layer_type"]).to_pandas()
    return answered.take(pa.array(easy_units(facts.listed(model, units)).index))


def _literal(answered: pa.Table) -> tuple[int, float, float]:
    """Number, sum and maximum of MIS with the paper's alpha read as a factor, over the units of a network."""
    mis = score.unit_scores(matrix(answered["margins"]), score.LITERAL_SLOPE)["mis"]
    return len(mis), float(mis.sum()), float(mis.max())


def _near(answered: pa.Table, n_tasks: int) -> NDArray[np.bool_]:
    """Mask (units, tasks) of the tasks that have a near copy."""
    near = answered["near"].combine_chunks()
    return score.near_mask(pc.list_value_length(near).to_numpy(), near.flatten().to_numpy(), n_tasks)


def _convergence(answered: pa.Table, slope: float, drop_near: bool) -> pd.DataFrame:
    """`profiles.convergence` of a network in the columns of the table; blocks of units bound the memory."""
    parts = []
    for start in range(0, len(answered), _BLOCK):
        block = answered.slice(start, _BLOCK)
        margins = matrix(block["margins"])
        used = ~_near(block, margins.shape[1]) if drop_near else None
        parts.append(profiles.convergence(expit(slope * margins), used))
    if not parts:
        return pd.DataFrame(columns=profiles.CONVERGENCE_COLUMNS)
    together = pd.concat(parts)
    together["total"] = together["mean_abs_diff"] * together["n_units"]
    sums = together.groupby("n_tasks", sort=True)[["total", "n_units"]].sum().reset_index()
    found = sums.assign(mean_abs_diff=sums["total"] / sums["n_units"])
    return found.reindex(columns=profiles.CONVERGENCE_COLUMNS)


def _half_scores(answered: pa.Table, slope: float, drop_near: bool) -> pd.DataFrame:
    """Key and `ranking.half_scores` of units of a network; those without a task in either half are left out."""
    margins = matrix(answered["margins"])
    mask = _near(answered, margins.shape[1])
    units = answered.select(KEY).to_pandas().join(ranking.half_scores(margins, slope, mask, drop_near))
    return units.dropna(subset=["mis", "even", "odd"])


def _pooled(totals: pd.DataFrame, literal: list[tuple[int, float, float]]) -> dict[str, float]:
    """Means over the units of all networks."""
    if totals.empty:
        return dict.fromkeys(["mis_mean", *LITERAL_COLUMNS], float("nan"))
    counts, sums, largest = zip(*literal, strict=True)
    mean = np.average(totals["mis_mean"], weights=totals["n_units"])
    return {"mis_mean": mean, "literal_mis_mean": sum(sums) / (sum(counts) or np.nan), "literal_mis_max": max(largest)}


def pairs_table(scored: Scored, backends: Sequence[str], facts: Facts) -> pd.DataFrame:
    """Agreement of every two backends over the units of ranked networks."""
    found = [pd.DataFrame(columns=summaries.AGREEMENT_COLUMNS)]
    for first, second in combinations(backends, 2):
        pairs = _pairs(scored, first, second, facts)
        found.append(summaries.backend_agreement(first, second, pairs, facts.confidence))
    return pd.concat(found[1:] or found, ignore_index=True)


def _pairs(scored: Scored, first: str, second: str, facts: Facts) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Key and mis of the units of one network after the other, under two backends."""
    columns = [*KEY, "layer_type", "mis"]
    for model in facts.nets.ranked:
        one, other = (
            easy_units(facts.listed(model, scored.units(backend, model, columns)))[[*KEY, "mis"]]
            for backend in (first, second)
        )
        yield one, other


def backends_table(scores: Path, totals: dict[str, pd.DataFrame], tables: Tables, facts: Facts) -> pd.DataFrame:
    """Backends side by side: levels, agreement with the leading one and with people, cost."""
    pairs = tables["backend_agreement"].set_index(["first", "second"])
    lead = next(iter(totals))
    rows = [
        summaries.backend_summary(
            name, total, None if name == lead else pairs.loc[(lead, name)], facts.slopes[name],
            read_json(scores / f"{name}.cost.json"),
        )
        for name, total in totals.items()
    ]  # fmt: skip
    backends = pd.concat(rows, ignore_index=True)
    return summaries.with_people(backends, tables["agreement"], tables["agreement_differences"])


def _tests(samples: Samples, means: pd.DataFrame, value: str, name: str, facts: Facts) -> Tables:
    """All tests between networks and layer types in each of CONDITIONS; `samples` gives the scores of the networks."""
    found: dict[str, list[pd.DataFrame]] = defaultdict(list)
    for condition in CONDITIONS:
        called = _test_name(name, condition), condition
        tables = comparisons.compare(samples(condition), means, value, *called)
        resampled = families.family_bootstrap(means, value, facts.families, *called, *facts.bootstrap)
        for table, rows in {**tables, "family_bootstrap": resampled}.items():
            found[table].append(rows)
    return {table: pd.concat(rows, ignore_index=True) for table, rows in found.items()}


def people_tables(annotated: pd.DataFrame, people: pd.DataFrame, responses: pd.DataFrame, facts: Facts) -> Tables:
    """Tables of human scores alone.

    `annotated`: scored units with their HIS, one row a unit and condition; `people`: all units with HIS.
    """

    def samples(condition: str) -> dict[str, NDArray[np.float64]]:
        rows = annotated[annotated["condition"] == condition]
        return {str(model): part.to_numpy(np.float64) for model, part in rows.groupby("model", observed=True)["his"]}

    return _tests(samples, comparisons.type_means(annotated, "his"), "his", "human", facts) | {
        "his_models": summaries.his_summary(people, *facts.bootstrap, responses),
        "difficulty": conditions.difficulty(people, "his", "human", facts.confidence),
        "natural_synthetic": conditions.natural_synthetic(people, "his", "human", facts.confidence),
        "confidence": conditions.confidence_table(responses, *facts.bootstrap),
    }


def point_tables(
    annotated: pd.DataFrame, people: pd.DataFrame, maps: pd.DataFrame, tables: Tables, facts: Facts, lead: str
) -> Tables:
    """What figures show of annotated units (`annotated`: a row a unit, condition and backend) and of layers.

    `maps`: contrast and sparseness of units; `tables` holds models, layers and extreme_units. Groups of easiest and
    hardest units are those of the leading backend.
    """
    seed, _, confidence = facts.bootstrap
    units = points.unit_points(annotated)
    once = units[units["backend"] == lead]
    ranked = tables["layers"][tables["layers"]["model"].isin(facts.nets.ranked)]
    extreme = tables["extreme_units"][tables["extreme_units"]["backend"] == lead]
    grouped = points.group_units(once, extreme, facts.n_extreme, seed)
    layers, measured = points.his_layers(once), baselines.map_units(maps, once)
    return {
        "layer_bins": profiles.layer_bins(ranked, confidence),
        "layer_change": profiles.layer_change(tables["layers"], tables["models"]),
        "unit_points": units,
        "model_points": points.model_points(units, confidence),
        "his_bins": points.his_bins(units, confidence),
        "groups": points.groups(grouped, confidence),
        "group_tests": points.group_tests(grouped),
        "his_layers": layers,
        "his_depth": points.his_depth(layers),
        "his_pairs": points.unit_pairs(people, once),
        "map_units": measured,
        "map_correlations": baselines.map_correlations(measured, lead),
    }


def trials_tables(name: str, margins: Margins, responses: pd.DataFrame, facts: Facts) -> Tables:
    """Answers one by one against the margins of one backend.

    Only simulated observers answered the very tasks that are scored here; for other answers the margin is the mean over
    the unit's tasks, since recorded people saw other pictures, or the same in other groups.
    """
    found = margins.rows(sorted(set(responses["model"])), [*KEY, "margins"])
    place = found.select(KEY).to_pandas().assign(place=np.arange(len(found)))
    asked = responses.merge(place, on=KEY)
    values = matrix(found["margins"])
    row, task = asked["place"].to_numpy(), asked["task"].to_numpy()
    very = (asked["source"] == "simulated").to_numpy() & (task >= 0) & (task < values.shape[1])
    of_unit = values.mean(axis=1) if len(values) else np.empty(0)
    margin = np.where(very, values[row, np.where(very, task, 0)], of_unit[row])
    trials = pd.DataFrame(
        {
            "margin": margin,
            "correct": asked["correct"].to_numpy(bool),
            "unit_code": pd.factorize(row)[0],
            "participant_code": pd.factorize(asked["participant"])[0],
            "margin_of": np.where(very, "task", "unit"),
        }
    )
    seed, _, confidence = facts.bootstrap
    rows, bins = trials_of.trial_tables(trials, name, seed, confidence)
    return {"trials": rows, "trial_calibration": bins}


def correlations_table(tables: Tables, annotated: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Facts of ranked networks and their layers against mean scores: of every backend, then of people."""
    models, layers = (tables[name][tables[name]["model"].isin(facts.nets.ranked)] for name in ("models", "layers"))
    found = [pd.DataFrame(columns=correlates.COLUMNS)]
    for backend in pd.unique(models["backend"]):
        of_models, of_layers = models[models["backend"] == backend], layers[layers["backend"] == backend]
        scores = of_models.set_index("model")["mis_mean"]
        found.append(_correlations(backend, scores, of_layers, of_layers, "mis_mean", of_models, facts))
    his = easy_units(annotated)
    if len(his) and len(found) > 1:
        by_layer = his.groupby(["model", "layer", "layer_type", "depth", "width"], observed=True)["his"].mean()
        scores = his.groupby("model", observed=True)["his"].mean()
        found.append(_correlations("human", scores, by_layer.reset_index(), of_layers, "his", of_models, facts))
    return pd.concat(found[1:] or found, ignore_index=True)


def _correlations(
    name: str, scores: pd.Series, scored_layers: pd.DataFrame, layers: pd.DataFrame, value: str, models: pd.DataFrame,
    facts: Facts,
) -> pd.DataFrame:  # fmt: skip
    rows = correlates.model_correlations(scores, correlates.model_facts(models, layers), facts.confidence)
    return correlates.correlation_table(
        rows + correlates.layer_correlations(scored_layers, value, *facts.bootstrap), name
    )


def _test_name(name: str, condition: str) -> str:
    """What the column backend of a test says: the similarity, or human; units of the first condition go without suffix."""
    return name if condition == CONDITIONS[0] else f"{name}_{condition}"


def in_order(table: pd.DataFrame, models: pd.Series) -> pd.DataFrame:
    """Rows in the order of the roster, backends as they were."""
    place = {name: place for place, name in enumerate(models)}
    return table.sort_values("model", key=lambda names: names.map(place), kind="stable", ignore_index=True)
