"""The tables that figures alone read, for the fabricated study of `report_fixture`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interpretability.analysis import (
    conditions,
    histograms,
    likeness,
    machine_beside_human,
    map_correlations,
    profiles,
)
from interpretability.analysis.networks import SIZE_COLUMNS
from interpretability.people import sessions
from study.files.tables import read_csv, write_csv
from tests.helpers.direction_tables import write_direction_tables

UNIT = ["model", "layer", "unit"]
CONFIDENCE = 0.95


def write_figure_tables(folder, units, annotated, networks, n_tasks, *, human):
    """Tables of layers, points and groups by the study's own functions, others with made-up numbers.

    With `human` there are harder tasks and synthetic explanations too, checks of sessions, feature maps and kept columns.
    """
    tables = folder / "tables"
    lead = units["backend"].iloc[0]

    def write(name, frame):
        write_csv(tables / f"{name}.csv", frame)

    models, layers = read_csv(tables / "models.csv"), read_csv(tables / "layers.csv")
    place = models["model"].map({name: i for i, name in enumerate(networks)}).fillna(0).astype(int)
    write("models", models.assign(input_size=64 + 32 * (place % 2)))
    write("layer_bins", profiles.layer_bins(layers, CONFIDENCE))
    write("layer_change", _changes(layers, networks if human else ()))
    write("convergence", _convergence(units, networks, n_tasks))

    facts = units[[*UNIT, "condition", "backend", "layer_type", "layer_index", "depth", "mis", "in_split"]]
    people = _harder(annotated) if human else annotated
    scored = facts.drop(columns="condition").merge(people[[*UNIT, "condition", "his", "n_responses"]], on=UNIT)
    found = machine_beside_human.unit_points(scored)
    once = found[found["backend"] == lead]
    chosen = machine_beside_human.group_units(once, pd.DataFrame(columns=[*UNIT, "end"]), 20, 0)
    by_layer = machine_beside_human.his_layers(once)
    write("unit_points", found)
    write("model_points", machine_beside_human.model_points(found, _answers(people), CONFIDENCE))
    write("his_bins", machine_beside_human.his_bins(found, CONFIDENCE))
    write("groups", machine_beside_human.groups(chosen, CONFIDENCE))
    write("group_tests", machine_beside_human.group_tests(chosen))
    write("his_layers", by_layer)
    write("his_depth", machine_beside_human.his_depth(by_layer))
    write("his_pairs", machine_beside_human.unit_pairs(people, once))
    if human:
        his = people.groupby(["model", "condition"])["his"].agg(n_units="size", his_mean="mean").reset_index()
        ends = {f"{name}{end}": his["his_mean"] + far for name in ("", "these_") for end, far in _ENDS.items()}
        write("his_models", his.assign(**ends))
        pairs = read_csv(tables / "difficulty.csv")
        write("natural_synthetic", pairs.assign(condition="synthetic"))
    easy = once.assign(condition="natural") if human else once.head(0)
    harder = [easy.assign(condition="hard85", mis=0.5 + 0.6 * (easy["mis"] - 0.5)), easy]
    curves = [
        conditions.by_gap(rows, lead, 0.045)
        for _, rows in pd.concat(harder).drop_duplicates([*UNIT, "condition"]).groupby("model")
    ]
    write("difficulty_by_gap", pd.concat(curves) if curves else pd.DataFrame(columns=conditions.GAP_COLUMNS))
    measured = map_correlations.map_units(_maps(once if human else once.head(0)), once)
    write("map_units", measured)
    write("map_correlations", map_correlations.map_correlations(measured, lead))
    rows, weights = _tuned(lead)
    write("tuning", rows if human else rows.head(0))
    write("tuning_weights", weights if human else weights.head(0))
    if human:
        write_direction_tables(folder, units, networks, lead=lead)
    write("input_sizes", pd.DataFrame(columns=SIZE_COLUMNS))
    points = _likeness(read_csv(tables / "models.csv"), read_csv(tables / "his_models.csv"), lead, networks)
    points = points if human else points.head(0)
    write("likeness_networks", points)
    write("likeness", likeness.likeness(points, CONFIDENCE))
    write("checks", _checks() if human else pd.DataFrame(columns=sessions.CHECK_COLUMNS))
    write("activation_histograms", _histograms(networks[0]) if human else _histograms(networks[0]).head(0))


def _tuned(lead):
    """A similarity tuned by dimensions, and one by factors, of which people do not see the second."""
    ends = {f"{name}{end}": value + far for name, value in _TUNED.items() for end, far in _ENDS_OF_TUNED.items()}
    facts = {"answers": "simulated", "status": "tuned", "reason": "", "n_answers": 3000, "n_units": 100, "ceiling": 0.8}
    rows = pd.DataFrame([{"backend": lead, "family": name, **facts, **ends} for name in ("diagonal", "blocks")])
    names = ("colour", "frequency", "shape")
    weights = [
        {"backend": lead, "family": "blocks", "fold": fold, "name": name, "weight": 6.0 * place, "relative": place}
        for fold in range(-1, 5)
        for name, place in zip(names, (1.5, 0.05 * abs(fold), 1.45), strict=True)
    ]
    return rows, pd.DataFrame(weights)


_TUNED = {"r_untuned": 0.5, "r_tuned": 0.7, "gain": 0.2}
_ENDS_OF_TUNED = {"": 0.0, "_low": -0.05, "_high": 0.05}
_ENDS = {"low": -0.02, "high": 0.02}


def _answers(people):
    """Single answers with the shares of right ones that `people` says."""
    rows = people.loc[people.index.repeat(people["n_responses"].astype(int))]
    number = rows.groupby(level=0).cumcount()
    right = number < (rows["his"] * rows["n_responses"]).round()
    return rows[[*UNIT, "condition"]].assign(participant=number.astype(str), correct=right).reset_index(drop=True)


def _harder(annotated):
    """People were asked about units of the first network with harder tasks and synthetic explanations too."""
    first = annotated[annotated["model"] == annotated["model"].iloc[0]]
    parts = [annotated]
    for condition, loss in (("hard95", 0.1), ("synthetic", 0.2)):
        parts.append(first.assign(condition=condition, his=np.clip(first["his"] - loss, 0, 1)))
    return pd.concat(parts, ignore_index=True)


def _changes(layers, networks):
    rows = layers[layers["model"].isin(networks)]
    parts = [pd.DataFrame(columns=profiles.CHANGE_COLUMNS)]
    for period, scale, ends in (("first", 0.02, (0, 1)), ("later", -0.01, (1, 5)), ("full", 0.01, (0, 5))):
        change = scale * (rows["layer_index"] - 2)
        named = {"series": rows["model"], "period": period, "from_step": ends[0], "to_step": ends[1]}
        parts.append(rows.assign(**named, change=change, change_se=0.01)[profiles.CHANGE_COLUMNS])
    return pd.concat(parts, ignore_index=True)


def _convergence(units, networks, n_tasks):
    rows = [
        (backend, model, i, 0.1 * (1 / i - 1 / n_tasks), 100)
        for backend in pd.unique(units["backend"])
        for model in networks
        for i in range(1, n_tasks)
    ]
    return pd.DataFrame(rows, columns=profiles.CONVERGENCE_COLUMNS)


def _maps(once):
    maps = once[UNIT].drop_duplicates()
    share = (maps["unit"] % 7) / 7
    return maps.assign(contrast=1 + share, pixel_sparseness=share, channel_sparseness=share**2)


def _checks():
    rows = [
        (check, low, low + 1, 30 - low, low, 2 if check != "demo_trials" else np.nan, np.nan)
        for check in sessions.CHECKS
        for low in range(6)
    ]
    return pd.DataFrame(rows, columns=sessions.CHECK_COLUMNS)


def _likeness(models, his, lead, networks):
    """Two measures of each network, of different files, beside both scores."""
    ours = models[(models["backend"] == lead) & models["model"].isin(networks)]
    ours = ours.rename(columns={"mis_mean": "mean", "mis_low": "low", "mis_high": "high"}).assign(score="mis")
    people = his.rename(columns={"his_mean": "mean"}).assign(score="his", backend="")
    both = pd.concat([ours.assign(condition="natural"), people], ignore_index=True)
    place = both["model"].map({name: i for i, name in enumerate(networks)})
    measures = {"error_consistency": ("raw-data", 0.1 + 0.03 * place), "V1": ("brain-score.csv", 0.5 - 0.01 * place)}
    parts = [
        both.assign(source=source, measure=measure, called=both["model"].str.upper(), value=value)
        for measure, (source, value) in measures.items()
    ]
    return pd.concat(parts, ignore_index=True)[likeness.NETWORK_COLUMNS]


def _histograms(model):
    draw = np.random.default_rng(3)
    parts = [
        histograms.activation_histogram(draw.normal(size=500)).assign(model=model, layer=f"layer{i}.conv", unit=i)
        for i in range(15)
    ]
    return pd.concat(parts, ignore_index=True)[["model", "layer", "unit", *histograms.COLUMNS]]
