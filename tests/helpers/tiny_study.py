"""A study of a few hundred scenes without a network: the files that the stages after `tasks` read, made in a second.

Studied units look at random directions of the factor space, with more noise in the untrained network.
"""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from interpretability import randomness
from interpretability.analysis import histograms
from interpretability.extremes import selection
from interpretability.margins import cosine_margins, unit_rows
from interpretability.schema import KEY
from interpretability.synthetic import planted_units
from interpretability.synthetic.draws import draw_factors
from interpretability.synthetic.factors import factor_vectors
from interpretability.tasks import natural, rules
from interpretability.tasks.hard import tasks_from_rank
from interpretability.tasks.one_sided import one_sided_tasks
from study.crowd.results import CrowdParams, Folders, write_crowd
from study.extraction.results import DIRECTION_COLUMNS
from study.files.tables import write_csv, write_json, write_parquet
from study.label_free import run as label_free
from study.networks.roster import RESOLVED
from study.solving import kinds, tuning
from study.tasks import firing
from study.visualisations.writing import write_made
from tests.helpers import explained
from tests.helpers.crowd_params import crowd_params

N_IMAGES, N_TASKS, N_EXPLANATIONS, WIDTH = 400, 6, 2, 8
BACKENDS = ("oracle", "null")
WITHOUT_TEXTS = {
    "explanations.presence": "none",
    "explanations.guide.source": "none",
    "explanations.second_guide.source": "none",
    "explanations.units": [],
    "explanations.n_known": 0,
    "crowd.source": "none",
}
PARAMS = {
    **WITHOUT_TEXTS,
    "images.source": "generated",
    "images.generated.n": N_IMAGES,
    "tasks.n_tasks": N_TASKS,
    "tasks.n_explanations": N_EXPLANATIONS,
    "activations.n_extremes": N_TASKS * (N_EXPLANATIONS + 1),
    "scores.backends": list(BACKENDS),
    "tuning.backends": [],
    "activations.keep": [],
    "activations.windows": [],
    "visualisations.units": [],
    "tasks.conditions": ["natural"],
    "tasks.one_sided": [],
    "sensitivity.n_tasks": [2],
    "sensitivity.n_explanations": [1],
    "sensitivity.map_models": [],
    "label_free.models": [],
    "human.source": "simulated",
    "human.simulated.n_units": 12,
    "human.simulated.n_responses": 20,
    "human.simulated.n_trials": 8,
    "calibration.fraction": 0.25,
    "calibration.min_units": 6,
    "calibration.allow_few": False,
    "calibration.n_bootstrap": 20,
    "calibration.n_splits": 5,
    "ceiling.n_simulations": 20,
    "stats.n_bootstrap": 100,
    "stats.n_extreme": 3,
}


def write_params(path, root, **changes):
    """The study's params.yaml with other values: PARAMS, then `changes`, whose names have __ for a dot."""
    content = YAML(typ="safe").load((root / "params.yaml").read_text())
    for name, value in (PARAMS | {key.replace("__", "."): value for key, value in changes.items()}).items():
        *groups, last = name.split(".")
        place = content
        for group in groups:
            place = place[group]
        place[last] = value
    tuned = content["tuning"]  # of similarities that the study has
    tuned["backends"] = [name for name in tuned["backends"] if name in content["scores"]["backends"]]
    with path.open("w") as file:
        YAML().dump(content, file)


def write_study(data, hard=(), one_sided=()):
    """data/images, models, activations, tasks, scores, sensitivity, explanations, crowd (with nobody asked) and simulation, as
    far as later stages read them.

    Units of the networks `hard` have tasks of condition hard85 too, those of `one_sided` of condition one_sided.
    """
    rng = np.random.default_rng(0)
    factors = draw_factors(N_IMAGES, seed=0, stream="study", n_categories=6)
    vectors = factor_vectors(factors)
    _images(data / "images", factors)
    roster = _roster(data / "models")
    built, labels, constant = {}, [], []
    for name in ("net-step0", "net", "other", "controls", "shuffled"):
        if name == "controls":
            layers = [(layer.layer, "Other", layer.values) for layer in planted_units.planted(factors, 0)]
            labels = [
                {"model": name, "layer": layer.layer, "unit": unit, "label": label}
                for layer in planted_units.planted(factors, 0)
                for unit, label in enumerate(layer.labels)
            ]
        else:
            seen = {"net-step0": 0.2, "net": 2.0, "other": 3.0, "shuffled": 0.0}[name]
            kinds = [("0.10", "Conv"), ("0.2", "Conv"), ("head", "Linear")]
            layers = [(layer, kind, _activations(rng, vectors, seen)) for layer, kind in kinds]
        built[name] = _tasks(name, layers, name in hard, name in one_sided)
        constant += built[name][2]
    _activations_side(data / "activations", labels)
    _write_tasks(data / "tasks", built, constant)
    embeddings = {"oracle": vectors, "null": unit_rows(rng.normal(size=(N_IMAGES, 16)))}
    (data / "scores").mkdir()
    for backend, rows in embeddings.items():
        parts = []
        for table, task, _ in built.values():
            margins = list(cosine_margins(rows, task, N_EXPLANATIONS))
            near = [np.array([1, 3][: place % 3], dtype=np.int16) for place in range(len(table))]
            parts.append(table.assign(margins=margins, near=near))
        frame = pa.Table.from_pandas(pd.concat(parts), preserve_index=False)
        pq.write_table(frame.replace_schema_metadata(None), data / "scores" / f"{backend}.parquet")
        write_json(data / "scores" / f"{backend}.cost.json", {"n_forwards": 0, "n_pairs": 4 * N_EXPLANATIONS})
    settings = pd.DataFrame({"model": ["net"], "backend": ["oracle"], "setting": ["slope"], "value": [0.16]})
    write_parquet(data / "sensitivity" / "settings.parquet", settings)
    maps = pd.DataFrame({"model": "net", "layer": "0.2", "unit": np.arange(WIDTH), "contrast": np.nan})
    maps = maps.assign(pixel_sparseness=maps["unit"] / WIDTH, channel_sparseness=0.0, n_images=10)
    _texts(data)
    _made(data)
    # no similarity of tuning.backends
    tuning.write_tables(data / "tuning", [], {})
    # no network of label_free.models
    write_parquet(data / "label_free" / "units.parquet", pd.DataFrame(columns=label_free.COLUMNS))
    write_csv(data / "label_free" / "failures.csv", pd.DataFrame(columns=["model", "stage", "reason"]))
    write_parquet(data / "sensitivity" / "maps.parquet", maps)
    histogram = histograms.activation_histogram(np.arange(10.0)).assign(model="net", layer="0.2", unit=0)
    write_parquet(data / "sensitivity" / "histograms.parquet", histogram)
    return roster


def _texts(data):
    """Texts of a few units, about which nobody is asked, and simulations of ratings."""
    explained.write(data / "explanations", n_units=2, n_images=200, n_asked=30)
    (data / "crowd").mkdir()
    nobody = CrowdParams(seed=0, processor="portable", crowd=crowd_params(source="none"))
    write_crowd(Folders(data / "explanations", data / "none", data / "crowd"), nobody)
    curves = pd.DataFrame(
        {"world": "base", "part": "setting_1", "method": ["a", "b"], "ratings": 180, "rce": [0.2, 0.1]}
    )
    for name in ("curves", "pareto", "costs"):
        write_parquet(data / "simulation" / f"{name}.parquet", curves)


def _made(data):
    """No images made for units, so no kinds of explanation to compare."""
    (data / "visualisations").mkdir()
    nothing = {"left_out": [], "failures": [], "note": {"made_on": []}}
    write_made(data / "visualisations", [], {}, [], manifest="0", n_natural=N_IMAGES, **nothing)
    write_parquet(
        data / "explanation_kinds" / "margins.parquet", kinds.MARGINS.empty_table().to_pandas(), kinds.MARGINS
    )


def _activations(rng, vectors, seen):
    values = vectors @ rng.normal(size=(vectors.shape[1], WIDTH)) * seen + 0.5 * rng.normal(size=(N_IMAGES, WIDTH))
    return values.astype(np.float32)


def _tasks(name, layers, hard, one_sided):
    """Table of the units that vary, their tasks, and rows of those that do not."""
    values = np.concatenate([values for *_, values in layers], axis=1)
    owners = [
        (name, layer, unit, "natural", kind, place + 1, (place + 1) / (len(layers) + 1), part.shape[1])
        for place, (layer, kind, part) in enumerate(layers)
        for unit in range(part.shape[1])
    ]
    table = pd.DataFrame(owners, columns=[*KEY, "layer_type", "layer_index", "depth", "width"])
    table["tie_share_pos"] = table["tie_share_neg"] = np.float32(0)
    keys = np.concatenate([randomness.unit_keys(0, name, layer, np.arange(part.shape[1])) for layer, _, part in layers])
    count = N_TASKS * (N_EXPLANATIONS + 1)
    extremes = selection.Extremes(keys, count)
    extremes.update(values, np.arange(N_IMAGES))
    ranked = selection.ranked(*extremes.keys(), keys, count)
    live = np.ptp(values, axis=0) > 0
    constant = table.loc[~live, ["model", "layer", "unit", "layer_type"]].assign(min=0, max=0, absolute=1, relative=1)
    built = natural.build(ranked.top_images[live], ranked.bottom_images[live], keys[live], N_TASKS, N_EXPLANATIONS)
    table = table[live].reset_index(drop=True)
    if hard:
        start = rules.window_start(N_IMAGES, "hard85", N_TASKS, N_EXPLANATIONS)
        harder, *_ = tasks_from_rank(values.T[live], keys[live], start, N_TASKS, N_EXPLANATIONS)
        built = np.concatenate([built, harder])
        table = pd.concat([table, table.assign(condition="hard85")], ignore_index=True)
    if one_sided:
        top, size = ranked.top_images[live], (N_TASKS, N_EXPLANATIONS)
        built = np.concatenate([built, one_sided_tasks(top, keys[live], N_IMAGES, *size)])
        table = pd.concat([table, table.head(len(top)).assign(condition="one_sided")], ignore_index=True)
    return table, built, constant.to_dict("records")


def _images(folder, factors):
    write_parquet(folder / "factors.parquet", factors)
    write_parquet(folder / "manifest.parquet", pd.DataFrame({"image": np.arange(N_IMAGES, dtype=np.int32)}))
    write_csv(folder / "rejected.csv", pd.DataFrame({"path": ["broken.png"], "reason": ["empty file"]}))
    write_json(folder / "summary.json", {"n": N_IMAGES, "digest": "0"})


def _roster(folder):
    rows = [
        {"name": "net-step0", "role": "study", "series": "net", "step": 0, "last": 0, "top1": 5.0},
        {"name": "net", "role": "study", "series": "net", "step": 2, "last": 1, "top1": 60.0},
        {"name": "other", "role": "study", "last": 1},
        {"name": "encoder", "role": "similarity", "last": 1},
        {"name": "controls", "role": "control", "constructor": "control:planted", "last": 1},
        {"name": "shuffled", "role": "control", "constructor": "control:permuted", "last": 1},
    ]
    rows[-1]["kwargs"] = json.dumps({"of": "net"})
    roster = pd.DataFrame(rows).reindex(columns=RESOLVED)
    roster["constructor"] = roster["constructor"].fillna("resnet18")
    roster["weights"] = "none"
    write_csv(folder / "roster.csv", roster)
    failed = {"model": ["lost"], "stage": ["models"], "reason": ["no weights"]}
    write_csv(folder / "failures.csv", pd.DataFrame(failed))
    return roster


def _activations_side(folder, labels):
    write_csv(folder / "control_labels.csv", pd.DataFrame(labels))
    write_csv(folder / "directions.csv", pd.DataFrame(columns=DIRECTION_COLUMNS))
    write_csv(folder / "clusters.csv", pd.DataFrame(columns=["model", "layer", "cluster"]))
    write_csv(folder / "left_out.csv", pd.DataFrame(columns=["model", "layer", "layer_type", "width", "reason"]))
    write_csv(folder / "failures.csv", pd.DataFrame(columns=["model", "stage", "reason"]))
    write_json(folder / "run.json", {"device_kinds": ["cpu"], "n_images": N_IMAGES})


def _write_tasks(folder, built, constant):
    for name, (table, task, _) in built.items():
        write_parquet(folder / f"{name}.parquet", table)
        np.save(folder / f"{name}.npy", task)
    write_csv(folder / "constant_units.csv", pd.DataFrame(constant))
    write_parquet(folder / "firing.parquet", pd.DataFrame(columns=firing.COLUMNS), schema=firing.SCHEMA)
    share = N_TASKS * (N_EXPLANATIONS + 1) / N_IMAGES
    summary = {"n_images": N_IMAGES, "n_tasks": N_TASKS, "n_explanations": N_EXPLANATIONS, "tail_share": share}
    write_json(folder / "summary.json", summary)
