"""Tables of scored units, similarity by similarity and network by network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import expit

from interpretability.analysis import (
    cluster_tests,
    conditions,
    correlates,
    group_tests,
    networks,
    profiles,
    ranking,
    similarities,
    training_series,
)
from interpretability.analysis.controls import controls_summary, label_controls
from interpretability.analysis.levels import RANGE_COLUMNS, ranges
from interpretability.analysis.superposed import superposed_summary
from interpretability.mis import LITERAL_SLOPE, unit_scores
from interpretability.schema import KEY, MADE, NATURAL
from interpretability.synthetic import superposition
from study.files.tables import read_json
from study.files.unit_tables import Margins, Scored, matrix, near_copies
from study.log import Progress, logger
from study.tabulating.comparisons import OF_SIMILARITIES, compare_groups
from study.tabulating.facts import Facts, Tables, easy_units
from study.tabulating.levels import Sums, level_sums, pooled_ranges

log = logger("stats")

SLOPE_COLUMNS = [
    *("backend", "slope", "temperature", "low", "high", "status", "n_units", "loss", "at_bound"),
    *("identified", "ratio", "gain_t", "reason"),
]
LITERAL_COLUMNS = ["literal_mis_mean", "literal_mis_max"]


@dataclass
class Backend:
    """Tables of one backend, and what later tables need of its units.

    Of the ranked networks: easy, scores of their `easy_units`; scores, the same by condition; totals, `backend_totals`;
    means of layer types; clusters: `cluster_means`. rated: units of the networks that people annotated.
    """

    name: str
    tables: Tables = field(default_factory=dict)
    scores: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=lambda: defaultdict(dict))
    easy: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    totals: pd.DataFrame = field(default_factory=pd.DataFrame)
    rated: pd.DataFrame = field(default_factory=pd.DataFrame)
    means: pd.DataFrame = field(default_factory=pd.DataFrame)
    clusters: pd.DataFrame = field(default_factory=pd.DataFrame)


_COLUMNS = {
    "models": [*networks.MODEL_COLUMNS, *RANGE_COLUMNS],
    "layers": networks.LAYER_COLUMNS,
    "layer_types": networks.LAYER_TYPE_COLUMNS,
    "conditions": conditions.DIFFICULTY_COLUMNS,
    "difficulty": conditions.PAIR_COLUMNS,
    "difficulty_by_gap": conditions.GAP_COLUMNS,
    "natural_synthetic": conditions.PAIR_COLUMNS,
    "ranking": ranking.COLUMNS,
    "extreme_units": ranking.EXTREME_COLUMNS,
    "convergence": profiles.CONVERGENCE_COLUMNS,
}
_BLOCK = 1 << 18  # units whose probabilities are in memory together


@dataclass
class _Parts:
    """Rows of a backend's tables, network by network; totals, literal scores and level sums are of the ranked ones."""

    tables: dict[str, list[pd.DataFrame]] = field(default_factory=lambda: defaultdict(list))
    totals: list[dict[str, float]] = field(default_factory=list)
    literal: list[tuple[int, float, float]] = field(default_factory=list)
    sums: list[Sums] = field(default_factory=list)


def read_backend(name: str, scored: Scored, margins: Margins, facts: Facts) -> Backend:
    """All tables of one backend. Rankings and tests concern ranked networks alone; layers those studied or read in directions.

    Levels are those of `easy_units`: conditions are compared, never pooled.
    """
    backend, parts = Backend(name), _Parts()
    nets, tables, allowed = facts.nets, parts.tables, facts.slopes_allowed.get(name)
    kept_whole = {*nets.planted, *nets.permuted, *nets.untrained, *(nets.last_of[s] for s in nets.untrained.values())}
    progress = Progress(log, len(facts.roster), f"{name}: networks")
    for model in facts.roster["name"]:
        units = scored.units(name, model)
        progress.step(note=model)
        if model in kept_whole:
            tables["whole"].append(easy_units(facts.listed(model, units)))
        if model in nets.planted:
            tables["superposed"].append(units[units["layer"].isin(superposition.LAYERS)])
        if model in facts.annotated:
            tables["rated"].append(units)
        if units.empty:
            continue
        if model in facts.annotated or (units["condition"] != NATURAL).any():
            tables["conditions"].append(conditions.by_condition(units, facts.people, facts.confidence))
        units = facts.listed(model, units)
        tables["difficulty_by_gap"].append(conditions.by_gap(units, name, facts.natural_start))
        easy = easy_units(units)
        answered = _summarised(margins, model, facts)
        sums = level_sums(answered, allowed, facts.drop_near) if allowed else None
        tables["models"].append(_model_row(model, easy, sums, facts))
        if model in nets.study or model in nets.directions:
            tables["layers"].append(networks.layer_summary(easy, facts.confidence))
        if model in nets.ranked:
            parts.sums += [sums] if sums else []
            _add_ranked(backend, parts, model, units, easy, answered, facts)
    blank = scored.units(name, "")
    whole, backend.rated, mixed = (
        pd.concat([blank, *tables.pop(key, [])], ignore_index=True) for key in ("whole", "rated", "superposed")
    )
    backend.totals = pd.DataFrame(parts.totals, columns=similarities.TOTAL_COLUMNS)
    backend.means = pd.concat([group_tests.type_means(blank, "mis"), *tables.pop("means", [])], ignore_index=True)
    no_clusters = pd.DataFrame(columns=cluster_tests.MEAN_COLUMNS)
    backend.clusters = pd.concat(tables.pop("clusters", [no_clusters]), ignore_index=True)
    if made := tables.pop("made", []):
        pooled = conditions.of_all_networks(pd.concat(made, ignore_index=True), "mis", name, facts.confidence)
        tables["natural_synthetic"] += [pooled] if len(pooled) else []
    for table, columns in _COLUMNS.items():
        rows = tables.get(table)
        backend.tables[table] = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)
    fitted = {**facts.slopes[name], "backend": name, **_pooled(backend.totals, parts.literal)}
    fitted |= pooled_ranges(parts.sums)
    columns = [*SLOPE_COLUMNS, "mis_mean", *RANGE_COLUMNS, *LITERAL_COLUMNS]
    backend.tables["calibration"] = pd.DataFrame([fitted], columns=columns)
    backend.tables |= _tables_of_whole(whole, mixed, name, facts)
    backend.tables |= compare_groups(
        lambda condition: backend.scores.get(condition, {}), backend.means, backend.clusters, "mis", name, facts
    )
    return backend


def _add_ranked(
    backend: Backend,
    parts: _Parts,
    model: str,
    units: pd.DataFrame,
    easy: pd.DataFrame,
    answered: pa.Table,
    facts: Facts,
) -> None:
    """What tables say of a ranked network alone, and its scores for the tests; `answered` as `_summarised` gives it."""
    name, tables = backend.name, parts.tables
    tables["layer_types"].append(networks.layer_type_summary(easy, facts.confidence))
    tables["means"].append(group_tests.type_means(units, "mis"))
    tables["clusters"].append(cluster_tests.cluster_means(units, "mis", facts.clusters))
    tables["difficulty"].append(conditions.difficulty(units, "mis", name, facts.confidence))
    tables["natural_synthetic"].append(conditions.natural_synthetic(units, "mis", name, facts.confidence))
    if units["condition"].isin(MADE).any():
        tables["made"].append(units[units["condition"].isin([NATURAL, *MADE])])
    parts.totals.append(similarities.backend_totals(easy))
    parts.literal.append(_literal(answered))
    slope = float(facts.slopes[name]["slope"])
    tables["convergence"].append(_convergence(answered, slope, facts.drop_near).assign(backend=name, model=model))
    halves = _half_scores(answered, slope, facts.drop_near)
    ranked, extreme = ranking.rank_network(halves, name, facts.n_extreme, facts.bootstrap.seed)
    tables["ranking"].append(ranked)
    tables["extreme_units"].append(extreme)
    # copies: a column of a table would keep the whole table in memory
    backend.easy[model] = easy["mis"].to_numpy(np.float64, copy=True)
    for condition in OF_SIMILARITIES:
        rows = units.loc[units["condition"] == condition, "mis"]
        same = len(rows) == len(easy) and condition == easy["condition"].iloc[0]
        if len(rows):
            backend.scores[condition][model] = backend.easy[model] if same else rows.to_numpy(np.float64, copy=True)


def _tables_of_whole(whole: pd.DataFrame, mixed: pd.DataFrame, name: str, facts: Facts) -> Tables:
    """What needs all units of controls, of untrained networks and of their trained ones together; `mixed`: units of features in
    superposition under every condition.
    """
    nets = facts.nets
    others = whole[~whole["layer"].isin(superposition.LAYERS)]
    controls = label_controls(others, nets.planted, nets.permuted, nets.untrained, facts.labels)
    constant = facts.constant["model"].isin(nets.planted) & (facts.constant["layer"] == "constant")
    return {
        "training_gain": training_series.training_gain(whole, nets, name, facts.confidence),
        "controls": pd.concat(
            [
                controls_summary(controls, int(constant.sum()), facts.confidence).assign(condition=NATURAL),
                superposed_summary(mixed, facts.confidence),
            ],
            ignore_index=True,
        ),
    }


def _model_row(model: str, units: pd.DataFrame, sums: Sums | None, facts: Facts) -> pd.DataFrame:
    roster = facts.roster[facts.roster["name"] == model]
    constant = facts.constant[facts.constant["model"] == model]
    constant = facts.listed(model, constant) if len(constant) else constant  # of the layers that n_units counts
    row = networks.model_summary(units, roster, constant["model"], facts.tail_share, facts.confidence)
    return row.assign(**(ranges(*sums) if sums else dict.fromkeys(RANGE_COLUMNS, np.nan)))


def _summarised(margins: Margins, model: str, facts: Facts) -> pa.Table:
    """Key, margins and marks of those units of a network that its levels are of."""
    answered = margins.rows([model], [*KEY, "layer_type", "margins", "near"])
    units = answered.select([*KEY, "layer_type"]).to_pandas()
    return answered.take(pa.array(easy_units(facts.listed(model, units)).index))


def _literal(answered: pa.Table) -> tuple[int, float, float]:
    """Number, sum and maximum of MIS with the paper's alpha read as a factor, over the units of a network."""
    mis = unit_scores(matrix(answered["margins"]), LITERAL_SLOPE)["mis"]
    return len(mis), float(mis.sum()), float(mis.max())


def _convergence(answered: pa.Table, slope: float, drop_near: bool) -> pd.DataFrame:
    """`profiles.convergence` of a network in the columns of the table; blocks of units bound the memory."""
    parts = []
    for start in range(0, len(answered), _BLOCK):
        block = answered.slice(start, _BLOCK)
        margins = matrix(block["margins"])
        used = ~near_copies(block["near"], margins.shape[1]) if drop_near else None
        parts.append(profiles.convergence(expit(slope * margins), used))
    if not parts:
        return pd.DataFrame(columns=profiles.CONVERGENCE_COLUMNS)
    together = pd.concat(parts)
    together["total"] = together["mean_abs_diff"] * together["n_units"]
    sums = together.groupby("n_tasks", sort=True)[["total", "n_units"]].sum().reset_index()
    means = sums.assign(mean_abs_diff=sums["total"] / sums["n_units"])
    return means.reindex(columns=profiles.CONVERGENCE_COLUMNS)


def _half_scores(answered: pa.Table, slope: float, drop_near: bool) -> pd.DataFrame:
    """Key and `ranking.half_scores` of units of a network; those without a task in either half are left out."""
    margins = matrix(answered["margins"])
    mask = near_copies(answered["near"], margins.shape[1])
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
    """Agreement of every two backends over the units of ranked networks; of levels only where both have any."""
    parts = [pd.DataFrame(columns=similarities.AGREEMENT_COLUMNS)]
    for first, second in combinations(backends, 2):
        pairs = _pairs(scored, first, second, facts)
        row = similarities.backend_agreement(first, second, pairs, facts.confidence)
        if not (facts.has_levels(first) and facts.has_levels(second)):
            row[list(similarities.LEVEL_DIFFERENCES)] = np.nan
        parts.append(row)
    return pd.concat(parts[1:] or parts, ignore_index=True)


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
    rows = []
    for name, total in totals.items():
        pair = None if name == lead else pairs.loc[[(lead, name)]].iloc[0]
        cost = read_json(scores / f"{name}.cost.json")
        rows.append(similarities.backend_summary(name, total, pair, dict(facts.slopes[name]), cost))
    backends = pd.concat(rows, ignore_index=True)
    known = tables["calibration"].set_index("backend")
    for column in RANGE_COLUMNS:
        backends[column] = backends["backend"].map(known[column])
    unknown = ~backends["backend"].map(facts.has_levels)
    backends.loc[unknown, ["mis_mean", *(f"{column}_lead" for column in ("mean_diff", "mean_abs_diff"))]] = np.nan
    return similarities.with_people(backends, tables["agreement"], tables["agreement_differences"])


def correlations_table(tables: Tables, annotated: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Facts of ranked networks and their layers against mean scores: of every backend, then of people.

    A network at another size of input is the same network once more, and no point of a correlation over networks.
    """
    own = [name for name in facts.nets.ranked if name not in facts.nets.resized]
    models, layers = (tables[name][tables[name]["model"].isin(own)] for name in ("models", "layers"))
    rows: list[pd.DataFrame] = []
    of_models, of_layers = models.head(0), layers.head(0)
    for backend in pd.unique(models["backend"]):
        of_models, of_layers = models[models["backend"] == backend], layers[layers["backend"] == backend]
        known = correlates.model_facts(of_models, of_layers)
        scores = of_models.set_index("model")["mis_mean"]
        rows.append(_correlations(backend, scores, of_layers, "mis_mean", known, facts))
    his = easy_units(annotated)
    if len(his) and rows:  # facts of networks do not depend on the similarity
        known = correlates.model_facts(of_models, of_layers)
        by_layer = his.groupby(["model", "layer", "layer_type", "depth", "width"], observed=True)["his"].mean()
        scores = his.groupby("model", observed=True)["his"].mean()
        rows.append(_correlations("human", scores, by_layer.reset_index(), "his", known, facts))
    return pd.concat(rows or [pd.DataFrame(columns=correlates.COLUMNS)], ignore_index=True)


def _correlations(
    name: str, scores: pd.Series, layers: pd.DataFrame, value: str, known: pd.DataFrame, facts: Facts
) -> pd.DataFrame:
    """Scores of networks, and `value` of layers, against facts of both."""
    rows = correlates.model_correlations(scores, known, facts.confidence)
    rows += correlates.layer_correlations(layers, value, *facts.bootstrap)
    return correlates.correlation_table(rows, name)


def in_order(table: pd.DataFrame, models: pd.Series) -> pd.DataFrame:
    """Rows in the order of the roster, backends as they were."""
    order = {name: number for number, name in enumerate(models)}
    return table.sort_values("model", key=lambda names: names.map(order), kind="stable", ignore_index=True)
