"""A fabricated study for tests of the report: the files it reads, with made-up numbers that hang together."""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
from ruamel.yaml import YAML
from safetensors.numpy import save_file

from interpretability.analysis.training_series import ALL_SERIES
from study.files.tables import read_csv, write_csv, write_json, write_parquet
from tests.helpers.figure_tables import write_figure_tables
from tests.helpers.kind_tables import write_kinds
from tests.helpers.rules import ROOT
from tests.helpers.text_tables import write_texts

NETWORKS = ("resnet", "convnext", "mixer", "vit")
BACKENDS = ("encoder", "oracle", "pixel", "null")
# how far each fabricated similarity sees what units respond to
SIGHT = {"encoder": 0.8, "oracle": 1.0, "pixel": 0.35, "null": 0.0}
LAYERS = (
    ("stem.conv", "Conv"),
    ("stem.norm", "BatchNorm"),
    ("a.conv", "Conv"),
    ("a.norm", "BatchNorm"),
    ("b.conv", "Conv"),
    ("b.norm", "LayerNorm"),
    ("c.mlp", "Linear"),
    ("c.norm", "LayerNorm"),
    ("head.fc", "Linear"),
)
END_LAYERS = (("stem", "the first of the layers"), ("head", "the last of the layers"))
UNITS_A_LAYER = 12
N_IMAGES, SIDE, N_TASKS, N_EXPLANATIONS = 400, 16, 20, 9
STUDY = "digest of this study"
KEY = ["model", "layer", "unit", "condition"]
_KEPT = TemporaryDirectory(prefix="fabricated-")  # the studies of this process by their options, until it ends
_FABRICATED: dict[str, Path] = {}


def build(folder: Path, **options) -> list[str]:
    """Write the study into a folder and return the command line of the report stage; options are those of `fabricate`.

    A study is fabricated once a process and copied for all who ask for the same, so a test may change the files of its own.
    """
    key = json.dumps(options, sort_keys=True)
    if key not in _FABRICATED:
        place = Path(_KEPT.name) / str(len(_FABRICATED))
        fabricate(place, **options)
        _FABRICATED[key] = place
    shutil.copytree(_FABRICATED[key], folder, dirs_exist_ok=True)
    return command_of(folder)


def command_of(folder: Path) -> list[str]:
    """The command line of the report stage for a study in this folder."""
    data = {
        name: folder / name
        for name in (
            "tables",
            "mis",
            "scores",
            "activations",
            "tasks",
            "images",
            "calibration",
            "human",
            "explanations",
            "crowd",
            "visualisations",
            "explanation_kinds",
            "plots",
            "figures",
        )
    }
    files = {
        "params": folder / "params.yaml",
        "metrics": folder / "metrics.json",
        "provenance": folder / "provenance.json",
        "seeds": folder / "seeds.csv",
        "template": ROOT / "reports/template",
        "captions": ROOT / "reports/captions",
        "out": folder / "report.html",
    }
    return [word for name, path in {**files, **data}.items() for word in (f"--{name}", str(path))]


def fabricate(
    folder: Path,
    *,
    human: bool = True,
    texts: bool | None = None,
    made: bool = False,
    networks=NETWORKS,
    layers=LAYERS,
    label="scene",
    title=None,
    rejected=(),
    units_a_layer=UNITS_A_LAYER,
    prefix="",
    **report,
):
    """Write the study into a folder.

    `human=False` is a study of a picture folder without human answers, controls or checkpoints: header-only tables.
    `texts` says whether units have texts, as a rule where there are answers; `made` whether images were made for some.
    `report` overrides keys of params.report.
    """
    rng = np.random.default_rng(7)
    values = _params(folder, human, title, report)
    units = _units(rng, networks, layers, units_a_layer)
    _images(folder, rng, label, rejected, prefix)
    _tasks(folder, rng, units, networks)
    write_parquet(folder / "mis/units.parquet", units)
    _scores(folder, rng, units, networks)
    annotated = _human(folder, rng, units, networks, human)
    _tables(folder, rng, units, networks, annotated, human, rejected)
    write_kinds(folder, units, networks, layers, lead=BACKENDS[0], n_explanations=N_EXPLANATIONS, made=made)
    texts = human if texts is None else texts
    write_texts(folder, np.random.default_rng(8), networks, layers, N_IMAGES, label, texts=texts)
    write_json(folder / "metrics.json", {"agreement": 0.71, "mis_mean": 0.8})
    write_json(
        folder / "provenance.json",
        {
            "device_kinds": ["cpu"],
            "digests": {"study": STUDY},
            "versions": {"numpy": np.__version__},
            "params": values,
        },
    )
    write_csv(folder / "seeds.csv", seeds_rows(folder, networks, seeds=3 if human else 0))


def seeds_rows(folder, networks, seeds):
    """The study under several seeds: 0 as in models.csv, then the first two networks change places."""
    models = read_csv(folder / "tables/models.csv", text=("model",))
    means = models[models["role"] == "study"].set_index(["backend", "model"])["mis_mean"]
    turned = [*networks[1::-1], *networks[2:]]
    rows = []
    for seed in range(seeds):
        # a test marks the first and the third as different under every seed, the first two under one
        pairs = [networks[:3:2]] if len(networks) > 2 else []
        pairs += [networks[:2]] if seed == 1 else []
        for b in BACKENDS:
            for place, (m, other) in enumerate(zip(networks, turned if seed else networks, strict=True)):
                differs = [name for pair in pairs if m in pair for name in pair if name != m]
                scores = means[b, other] + 0.001 * seed, 0.9, "simulated", 0.7 + 0.01 * place
                rows.append((STUDY, seed, b, m, *scores, 6.25 + seed, 5.5, 7.1, 0.87, json.dumps(differs), "[]"))
    columns = "study seed backend model mis_mean accuracy answers his_mean slope slope_low slope_high ceiling differs his_differs"
    return pd.DataFrame(rows, columns=columns.split())


def _params(folder, human, title, report):
    yaml = YAML(typ="safe")
    values = yaml.load((ROOT / "studies/synthetic.yaml").read_text())
    values["scores"]["backends"] = list(BACKENDS)
    values["images"]["generated"]["n"] = 3 * N_IMAGES  # hard85 is refused below; the made-up files hold fewer
    values["tasks"] |= {"n_tasks": N_TASKS, "n_explanations": N_EXPLANATIONS}
    if not human:
        values["images"]["source"] = "folder"
        values["human"]["source"] = values["crowd"]["source"] = "none"
        values["explanations"] |= {"presence": "none", "make": [], "n_known": 0}
        for name in ("guide", "second_guide"):
            values["explanations"][name]["source"] = "none"
    values["report"] |= report
    if title is not None:
        values["report"]["title"] = title
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "params.yaml", "w") as file:
        yaml.dump(values, file)
    return values


def _units(rng, networks, layers, units_a_layer):
    parts = []
    for place, model in enumerate(networks):
        for index, (layer, kind) in enumerate(layers):
            ease = rng.normal(1.6 - 0.3 * place + 0.05 * index, 0.8, units_a_layer)
            for backend in BACKENDS:
                logit = SIGHT[backend] * np.abs(ease) + rng.normal(0, 0.15, units_a_layer)
                mis = 1 / (1 + np.exp(-logit))
                parts.append(
                    pd.DataFrame(
                        {
                            "model": model,
                            "layer": layer,
                            "unit": np.arange(units_a_layer),
                            "condition": "natural",
                            "layer_type": kind,
                            "layer_index": np.int32(index + 1),
                            "depth": (index + 1) / (len(layers) + 1),
                            "width": np.int32(units_a_layer),
                            "backend": backend,
                            "mis": mis,
                            "mis_se": 0.2 / np.sqrt(N_TASKS),
                            "accuracy": np.round(np.clip(mis + 0.1, 0, 1) * N_TASKS) / N_TASKS,
                            "margin_mean": logit / 6.25,
                            "margin_sd": 0.1,
                            "tie_share_pos": 0.0,
                            "tie_share_neg": 0.0,
                            "in_split": np.arange(units_a_layer) == 3,
                            "n_tasks": N_TASKS,
                            "n_near": 0,
                        }
                    )
                )
    return pd.concat(parts, ignore_index=True)


def _scores(folder, rng, units, networks):
    """Margins of the leading similarity that make exactly the accuracy and nearly the MIS of the units."""
    lead = units[units["backend"] == BACKENDS[0]]
    parts = []
    for model in networks:
        rows = lead[lead["model"] == model]
        right = (np.arange(N_TASKS) < rows["accuracy"].to_numpy()[:, None] * N_TASKS).astype(np.float32)
        margins = (rows["margin_mean"].to_numpy()[:, None] * (2 * right - 1)).astype(np.float32)
        near = [[2] if unit == 1 else [] for unit in rows["unit"]]
        parts.append(rows[[*KEY, "layer_type"]].assign(margins=list(margins), near=near))
    schema = pa.schema(
        [(name, pa.string()) for name in ("model", "layer")]
        + [("unit", pa.int64()), ("condition", pa.string())]
        + [("layer_type", pa.string()), ("margins", pa.list_(pa.float32())), ("near", pa.list_(pa.int64()))]
    )
    write_parquet(folder / f"scores/{BACKENDS[0]}.parquet", pd.concat(parts, ignore_index=True), schema)


def _images(folder, rng, label, rejected, prefix):
    pixels = rng.integers(0, 256, (N_IMAGES, 4, 4, 3), dtype=np.uint8).repeat(SIDE // 4, 1).repeat(SIDE // 4, 2)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    np.save(folder / "images/pixels.npy", pixels)
    rows = np.arange(N_IMAGES)
    write_parquet(
        folder / "images/manifest.parquet",
        pd.DataFrame(
            {
                "image": rows.astype(np.int32),
                "path": [f"{prefix}{i:05d}" for i in rows],
                "label": [f"{label} {i % 5}" for i in rows],
                "width": np.int32(SIDE),
                "height": np.int32(SIDE),
                "digest": [f"{i:064x}" for i in rows],
            }
        ),
    )
    write_json(
        folder / "images/summary.json",
        {"source": "generated", "n": N_IMAGES, "n_rejected": len(rejected), "n_duplicates": 0, "size": SIDE},
    )


def _tasks(folder, rng, units, networks):
    layers = []
    for model in networks:
        rows = units[(units["model"] == model) & (units["backend"] == BACKENDS[0])]
        order = rng.permuted(np.tile(np.arange(N_IMAGES, dtype=np.int32), (len(rows), 1)), axis=1)
        (folder / "tasks").mkdir(parents=True, exist_ok=True)
        np.save(folder / f"tasks/{model}.npy", order.reshape(len(rows), N_TASKS, 2 * (N_EXPLANATIONS + 1)))
        # lists of the network: the first images that explain, in an order of their own
        first = rows.drop_duplicates(["layer", "unit"])
        widths = first.groupby("layer", sort=False).size()
        layers.append(pd.DataFrame({"model": model, "layer": widths.index, "offset": widths.cumsum() - widths}))
        built = np.load(folder / f"tasks/{model}.npy")[np.flatnonzero(~rows.duplicated(["layer", "unit"]))]
        ends = {
            f"{side}_images": np.sort(built[:, :, at], axis=1) for side, at in (("top", 0), ("bottom", N_EXPLANATIONS))
        }
        (folder / "activations").mkdir(parents=True, exist_ok=True)
        save_file(ends, folder / f"activations/{model}.safetensors")
        # tasks of the second unit of every layer come from a record, whose ties are not known
        ties = np.where(rows["unit"] == 1, np.nan, 0.0).astype(np.float32)
        facts = ["layer_type", "layer_index", "depth", "width", "tie_share_pos", "tie_share_neg"]
        write_parquet(
            folder / f"tasks/{model}.parquet", rows.assign(tie_share_pos=ties, tie_share_neg=ties)[[*KEY, *facts]]
        )
    write_parquet(folder / "activations/layers.parquet", pd.concat(layers, ignore_index=True))
    write_json(
        folder / "tasks/summary.json",
        {
            "n_images": N_IMAGES,
            "n_tasks": N_TASKS,
            "n_explanations": N_EXPLANATIONS,
            "tail_share": N_TASKS * (N_EXPLANATIONS + 1) / N_IMAGES,
        },
    )


def _human(folder, rng, units, networks, human):
    lead = units[units["backend"] == BACKENDS[0]].sort_values(KEY, ignore_index=True)
    chosen = lead.groupby("model", sort=True).head(60)[[*KEY, "mis"]] if human else lead.head(0)[[*KEY, "mis"]]
    his = np.clip(np.round(30 * (chosen["mis"] + rng.normal(0, 0.08, len(chosen)))), 0, 30) / 30
    annotated = chosen[KEY].assign(n_responses=np.int32(30), his=his, his_se=0.07, source="simulated")
    write_parquet(folder / "human/units.parquet", annotated)
    answers = annotated[KEY].head(40 if human else 0).merge(pd.DataFrame({"task": [0, 0, 1, -1]}), how="cross")
    right = [True, False, True, True] * (len(answers) // 4)
    write_parquet(folder / "human/responses.parquet", answers.assign(correct=right, source="simulated", own_tasks=True))
    write_json(folder / "calibration/slope.json", {b: {"slope": 6.25, "status": _status(b, human)} for b in BACKENDS})
    slopes = np.geomspace(0.1, 100, 60) if human else np.empty(0)
    curve = [
        pd.DataFrame(
            {"backend": b, "slope": slopes, "loss": 0.01 + 0.02 * (1 - s) + 0.01 * np.log10(slopes / 6.25) ** 2}
        )
        for b, s in SIGHT.items()
    ]
    write_parquet(folder / "calibration/curve.parquet", pd.concat(curve, ignore_index=True))
    return annotated


def _status(backend, human):
    """Where the slope of a similarity comes from; answers do not tell that of the last one."""
    return ("not identified" if backend == BACKENDS[-1] else "calibrated") if human else "not calibrated"


def _ranges(backend, level, human):
    """A level at other slopes, where its slope is identified."""
    identified = _status(backend, human) == "calibrated"
    return (level - 0.03, level + 0.031, level - 0.02, level + 0.05) if identified else ("",) * 4


def _tables(folder, rng, units, networks, annotated, human, rejected):
    def write(name, columns, rows):
        write_csv(folder / f"tables/{name}.csv", pd.DataFrame(rows, columns=columns.split()))

    groups = units.groupby(["model", "backend"], sort=False)["mis"]
    q = groups.quantile([0.05, 0.25, 0.5, 0.75, 0.95]).unstack()
    mean = groups.mean()
    write(
        "models",
        "model backend role series step last n_units n_constant mis_mean mis_low mis_high mis_sd p5 p25 p50 p75 p95 "
        "accuracy_mean margin_mean top1 params input_size tail_share "
        "mis_slope_low mis_slope_high mis_splits_low mis_splits_high slope_status",
        [
            (
                m,
                b,
                "study",
                m if human else "",
                5 if human else "",
                1,
                len(units) // len(BACKENDS) // len(networks),
                1,
                mean[m, b],
                mean[m, b] - 0.01,
                mean[m, b] + 0.01,
                groups.std()[m, b],
                *q.loc[(m, b)],
                min(1, mean[m, b] + 0.08),
                mean[m, b] / 10,
                61.5,
                123456,
                64,
                0.5,
                *_ranges(b, mean[m, b], human),
                _status(b, human),
            )
            for m in networks
            for b in BACKENDS
        ]
        + [
            (
                f"{networks[0]}-permuted",
                b,
                "control",
                "",
                "",
                1,
                108,
                0,
                0.5,
                0.49,
                0.51,
                0.1,
                0.3,
                0.4,
                0.5,
                0.6,
                0.7,
                0.5,
                0.0,
                "",
                123456,
                64,
                0.5,
                *_ranges(b, 0.5, human),
                _status(b, human),
            )
            for b in BACKENDS
            if human
        ],
    )
    layer = units.groupby(["model", "backend", "layer", "layer_type", "layer_index", "depth", "width"], sort=False)[
        "mis"
    ]
    layer = layer.agg(n_units="size", mis_mean="mean", mis_se=lambda v: v.std() / len(v) ** 0.5).reset_index()
    write_csv(folder / "tables/layers.csv", layer)
    kinds = units.groupby(["model", "backend", "layer_type"], sort=False)["mis"]
    kinds = kinds.agg(n_units="size", mis_mean="mean", mis_se=lambda v: v.std() / len(v) ** 0.5).reset_index()
    write_csv(folder / "tables/layer_types.csv", kinds)
    write(
        "backends",
        "backend slope slope_low slope_high status n_units mis_mean accuracy_mean margin_mean margin_sd spearman_lead "
        "mean_diff_lead mean_abs_diff_lead n_annotated pearson_his spearman_his pearson_his_minus_lead "
        "pearson_his_minus_lead_low pearson_his_minus_lead_high n_forwards n_pairs "
        "mis_slope_low mis_slope_high mis_splits_low mis_splits_high",
        [
            (
                b,
                6.25,
                5.5 if human else "",
                7.1 if human else "",
                _status(b, human),
                20 if human else 0,
                0.5 + 0.3 * s,
                0.5 + 0.4 * s,
                0.3 * s,
                0.1,
                s,
                0.3 * s - 0.24,
                0.05,
                *((228, 0.9 * s, 0.85 * s) if human else ("", "", "")),
                *((0.9 * s - 0.72, 0.9 * s - 0.8, 0.9 * s - 0.6) if human and b != BACKENDS[0] else ("", "", "")),
                4000,
                20 * 20 * 36,
                *_ranges(b, 0.5 + 0.3 * s, human),
            )
            for b, s in SIGHT.items()
        ],
    )
    write(
        "backend_agreement",
        "first second n_units spearman mean_diff mean_diff_low mean_diff_high mean_abs_diff",
        [(a, b, 20, 0.5, 0.01, 0.005, 0.015, 0.02) for a, b in combinations(SIGHT, 2)],
    )
    _people_tables(write, networks, human)
    _unit_tables(write, units, annotated)
    _group_tables(write, networks, human)
    write(
        "calibration",
        "backend slope temperature low high status n_units loss at_bound mis_mean literal_mis_mean literal_mis_max "
        "mis_slope_low mis_slope_high mis_splits_low mis_splits_high "
        "identified ratio gain_t reason pearson pearson_low pearson_high agrees",
        [
            (
                b,
                6.25,
                0.16,
                5.5 if human else "",
                7.1 if human else "",
                _status(b, human),
                20 if human else 0,
                0.01 if human else "",
                0,
                0.5 + 0.3 * s,
                0.5 + 0.02 * s,
                0.55,
                *_ranges(b, 0.5 + 0.3 * s, human),
                int(_status(b, human) == "calibrated"),
                *((1.29, 6.0) if human else ("", "")),
                "why " + b,
                *((0.9 * s, 0.9 * s - 0.06, 0.9 * s + 0.05, int(s > 0.1)) if human else ("", "", "", "")),
            )
            for b, s in SIGHT.items()
        ],
    )
    write(
        "agreement",
        "backend level units n n_networks pearson pearson_low pearson_high spearman spearman_low spearman_high "
        "nested_low nested_high",
        [
            (
                b,
                level,
                which,
                228,
                len(networks),
                0.9 * s,
                0.9 * s - 0.06,
                0.9 * s + 0.05,
                0.85 * s,
                0.85 * s - 0.07,
                0.85 * s + 0.06,
                0.9 * s - 0.08,
                0.9 * s + 0.06,
            )
            for b, s in SIGHT.items()
            for level in ("unit", "unit_within")
            for which in ("all", "outside_split")
        ]
        + [
            (
                b,
                "model",
                "outside_split",
                len(networks),
                len(networks),
                *_over(networks, 0.9 * s, "", "", 0.8 * s),
                "",
                "",
                "",
                "",
            )
            for b, s in SIGHT.items()
        ]
        if human
        else [],
    )
    write(
        "noise_ceiling",
        "subset backend variant is_ceiling leads mean sd low high calibrated n_units n_simulations units "
        "share share_low share_high",
        [
            (subset, *row)
            for subset in ("easy", "all")
            for row in [
                ("", "V1", True, False, 0.88, 0.01, 0.86, 0.9, False, 240, 1000, "all", "", "", ""),
                ("", "V2", True, False, 0.78, 0.02, 0.75, 0.81, False, 240, 1000, "all", "", "", ""),
                ("", "V4", True, False, 0.85, 0.01, 0.82, 0.87, True, 240, 1000, "all", "", "", ""),
                ("", "V4w", True, True, 0.87, 0.01, 0.84, 0.89, True, 240, 1000, "all", "", "", ""),
                ("encoder", "V3", False, False, 0.66, 0.02, 0.62, 0.7, False, 240, 1000, "all", "", "", ""),
                ("encoder", "V4w", True, True, 0.868, "", "", "", True, 228, "", "outside_split", 0.83, 0.77, 0.88),
            ]
        ]
        if human
        else [],
    )
    write(
        "his_models",
        "model condition n_units his_mean low high these_low these_high",
        [(m, "natural", len(rows), rows["his"].mean(), 0.7, 0.8, 0.72, 0.78) for m, rows in annotated.groupby("model")],
    )
    # one network with harder tasks; natural rows have no drop
    rated = annotated["model"].unique()[:1]
    easy, hard = ("",) * 3, (0.1, 0.09, 0.11)
    names = "backend model condition n_units mis_mean mis_drop mis_drop_low mis_drop_high"
    write(
        "conditions",
        f"{names} n_annotated mis_annotated his_mean his_drop his_drop_low his_drop_high pearson",
        [
            row
            for model in rated
            for row in (
                (BACKENDS[0], model, "natural", 40, 0.8, *easy, 30, 0.8, 0.79, *easy, 0.5),
                (BACKENDS[0], model, "hard85", 40, 0.7, *hard, 30, 0.7, 0.69, *hard, 0.4),
            )
        ],
    )
    marks = "statistic df p p_holm stars reason"
    papers = " ".join(f"paper_{name}" for name in ("n_first", "n_second", "statistic", "p", "p_holm", "effect"))
    write(
        "layer_type_tests",
        f"backend first second test n_blocks n_networks difference {marks} {papers}",
        [
            (b, x, y, "paired t of blocks", 4, 4, 0.02, 1.23, 3, 0.04, 0.24, "NS", "", 4, 4, 1.1, 0.05, 0.3, 0.31)
            for b in BACKENDS[:2]
            for x, y in (("BatchNorm", "Conv"), ("BatchNorm", "LayerNorm"), ("Conv", "LayerNorm"), ("Conv", "Linear"))
        ],
    )
    two_way = ("two-way t (layers, people)", 18, 18, 75, 75, 0.8, 0.7, 0.1, 3.1, 30, 3e-6, 1.8e-5, "***", "")
    write(
        "network_tests",
        "backend first second test n_first n_second people_first people_second mean_first mean_second difference "
        f"{marks} lag1_first lag1_second {papers}",
        [
            ("human", x, y, *two_way, 0.1, 0.2, 57, 57, 5.1, 3e-9, 1.8e-8, 0.4)
            for i, x in enumerate(networks)
            for y in networks[i + 1 :]
        ]
        if human
        else [],
    )
    write(
        "network_clusters",
        "backend condition model n_units n_layers n_clusters unit_mean cluster_mean lag1",
        [(BACKENDS[0], "natural", x, 228, 5, 4, 0.8, 0.79, "") for x in networks],
    )
    _controls(write, networks, human)
    write(
        "training",
        "model series backend step top1 mis_mean mis_low mis_high",
        [
            (
                m if step == 5 else f"{m}-step{step}",
                m,
                b,
                step,
                4 + 12 * step,
                *(0.5 + SIGHT[b] * (0.14 + 0.02 * step - 0.03 * i) + d for d in (0, -0.012, 0.012)),
            )
            for i, m in enumerate(networks)
            for b in BACKENDS
            for step in range(6)
        ]
        if human
        else [],
    )
    write(
        "training_gain",
        "backend series n_units difference low high",
        [(b, m, 57, SIGHT[b] * 0.1, 0.05, 0.15) for m in (*networks, ALL_SERIES) for b in BACKENDS] if human else [],
    )
    write(
        "sensitivity",
        "model backend setting value mis_mean mis_se spearman mean_abs_diff n_units",
        [
            (networks[0], b, setting, v, 0.5 + SIGHT[b] * 0.3 * v / max(vs), 0.005, 0.8 + 0.2 * v / max(vs), 0.02, 100)
            for b in BACKENDS
            for setting, vs in (
                ("n_tasks", (5, 10, 20)),
                ("n_explanations", (1, 3, 5, 9)),
                ("slope", (0.16, 1.44, 6.25, 16)),
            )
            for v in vs
        ],
    )
    write(
        "constant_units",
        "model layer unit layer_type min max absolute relative",
        [(m, "a.conv", 3, "Conv", 0.1, 0.1, 1, 1) for m in networks] if human else [],
    )
    write(
        "left_out_layers",
        "model layer layer_type width reason",
        [
            *((m, name, "Conv", 12, reason) for m in networks for name, reason in END_LAYERS),
            *((m, f"{m}.qkv", "Linear", 36, "never called in a pass") for m in networks[::-1][:2]),
        ]
        if human
        else [],
    )
    write(
        "failures", "model stage reason", [] if human else [("broken", "models", "its file does not match the digest")]
    )
    write("rejected_images", "path reason", list(rejected))
    write("exclusions", "reason n_responses n_participants", [("too fast", 40, 1)] if human else [])
    write_figure_tables(folder, units, annotated, networks, N_TASKS, human=human)


def _unit_tables(write, units, annotated):
    """Ends of every network, and the units with the largest and smallest fabricated difference HIS - MIS."""
    lead = units[units["backend"] == BACKENDS[0]]
    ends = []
    for _, rows in lead.groupby("model", sort=False):
        rows = rows.sort_values("mis", ascending=False)
        for end, some in (("easiest", rows.head(5)), ("hardest", rows.tail(5).iloc[::-1])):
            ends += [
                (BACKENDS[0], *key, end, rank, mis, 0.04, 0.9 * mis, 0.03, 0.5)
                for rank, (*key, mis) in enumerate(some[[*KEY, "mis"]].itertuples(index=False, name=None), 1)
            ]
    write("extreme_units", f"backend {' '.join(KEY)} end rank mis mis_se shrunken shrunken_sd p_among", ends)
    both = annotated.merge(lead[[*KEY, "mis"]], on=KEY)
    both = both.assign(difference=both["his"] - both["mis"]).sort_values("difference", kind="stable")
    missed = [
        (BACKENDS[0], side, rank, *key, mis, 0.04, his, 0.07, difference, 0.08, difference / 0.08)
        for side, some in (("under", both.tail(6).iloc[::-1]), ("over", both.head(6)))
        for rank, (*key, mis, his, difference) in enumerate(
            some[[*KEY, "mis", "his", "difference"]].itertuples(index=False, name=None), 1
        )
    ]
    write("residuals", f"backend side rank {' '.join(KEY)} mis mis_se his his_se difference se z", missed)


def _over(networks, *values):
    """Values of a correlation over networks, which four of them do not have."""
    return values if len(networks) > 4 else ("",) * len(values)


def _people_tables(write, networks, human):
    write(
        "agreement_differences",
        "first second level units coefficient n difference low high p p_holm",
        [
            (a, b, level, "outside_split", coefficient, 228, 0.9 * (SIGHT[a] - SIGHT[b]), -0.1, 0.4, 0.03, 0.09)
            for a, b in combinations(SIGHT, 2)
            for level in ("unit", "unit_within")
            for coefficient in ("pearson", "spearman")
        ]
        if human
        else [],
    )
    write(
        "trials",
        "backend margin_of n n_units n_participants log_loss gain_over_mean gain_over_unit auc point_biserial mcfadden "
        "intercept intercept_low intercept_high slope slope_low slope_high lapse lapse_low lapse_high slope_effects "
        "slope_effects_se unit_variance participant_variance",
        [
            (
                *(b, "task", 7200, 240, 180, 0.55 - 0.08 * s, 0.08 * s, 0.05 * s, 0.5 + 0.2 * s, 0.3 * s, 0.1 * s),
                *(0.1, 0, 0.2, 6 * s, 6 * s - 1, 6 * s + 1, 0.1, 0.05, 0.15, 5 * s, 0.2, 0.1, 0.02),
            )
            for b, s in SIGHT.items()
        ]
        if human
        else [],
    )
    pair = "backend model condition base n_units mean base_mean difference low high pearson spearman spearman_p"
    write(
        "difficulty",
        pair,
        [("human", networks[0], "hard95", "natural", 40, 0.7, 0.8, -0.1, -0.15, -0.05, 0.5, 0.5, 0.01)]
        if human
        else [],
    )
    write("natural_synthetic", pair, [])
    write(
        "confidence",
        "model condition confidence n_responses share n_units correct low high",
        [
            (networks[0], "natural", level, 100 * level, level / 6, 60, 0.6 + level / 10, 0.5, 0.95)
            for level in (1, 2, 3)
        ]
        if human
        else [],
    )


def _group_tables(write, networks, human):
    groups = ("easiest", "random", "hardest")
    write(
        "ranking",
        "backend model group k n_units naive shrunken cross_fitted cross_fitted_se chosen_again",
        [
            (b, m, group, 4, 108, 0.9 - 0.1 * place, 0.88 - 0.1 * place, 0.87 - 0.1 * place, 0.004, 0.25)
            for b in BACKENDS
            for m in networks
            for place, group in enumerate(groups)
        ],
    )
    write(
        "correlations",
        "backend level layer_type x n n_networks pearson low high p p_holm spearman",
        [
            (b, level, kind, x, 40, len(networks), *_over(networks, 0.4, "", "", "", "", 0.3))
            for b in BACKENDS
            for level, kind, x in (("model", "", "top1"), ("layer", "", "depth"), ("layer", "Conv", "relative_width"))
        ],
    )
    write(
        "kruskal",
        "backend condition groups n_groups n statistic p epsilon_squared",
        [
            (b, "natural", kind, 4, 400, 43.2, 2e-9, 0.11)
            for b in (*BACKENDS, "human")
            for kind in ("layer_types", "models")
        ]
        if human
        else [],
    )
    write(
        "family_bootstrap",
        "backend condition first second n_first n_second n_families difference low high p p_holm",
        [(b, "natural", "Conv", "Linear", 4, 4, 4, -0.02, -0.05, 0.01, 0.2, 0.4) for b in BACKENDS],
    )


def _controls(write, networks, human):
    rows = []
    for b, s in SIGHT.items() if human else ():

        def row(control, factor, rho, mean, passed, expectation, backend=b):
            level = mean, mean - 0.02, mean + 0.02
            spread = (200, 1.02, 0.883, 1.231) if "0.5" in expectation else ("", "", "", "")
            rows.append((backend, control, factor, rho, 200, *level, *spread, passed, expectation, ""))

        row("hash", "", "", 0.5 + 0.002 * s, 1, "chance: interval holds 0.5")
        row("hash_rectified", "", "", 0.499, 1, "chance: interval holds 0.5")
        row("chance_pooled", "", "", 0.5, 1, "chance: interval holds 0.5")
        row("factor", "", "", 0.5 + 0.42 * s, "", "")
        row("factor", "hue", "", 0.5 + 0.45 * s, "", "")
        row("factor", "size", "", 0.5 + 0.4 * s, "", "")
        for family, strength in (("mixture", 0.45), ("mixture_rectified", 0.35)):
            for rho in (0, 0.25, 0.5, 0.75, 1):
                row(f"{family}_{rho:g}", "", rho, 0.5 + strength * s * rho, 1 if s and rho else "", "rises with rho")
                row(f"{family}_{rho:g}", "hue", rho, 0.5 + strength * s * rho, "", "")
        row("polysemantic", "", "", 0.5 + 0.3 * s, "", "between chance and a factor")
        for network in networks:
            row(f"permuted:{network}", "", "", 0.501, 1, "chance: interval holds 0.5")
            row(f"untrained:{network}", "", "", 0.5 + 0.12 * s, "", "")
        rows.append((b, "constant", "", "", 0, "", "", "", "", "", "", "", 1, "set aside", ""))
    scores = "n_units mis_mean mis_low mis_high n_z z_sd z_low z_high"
    write("controls", f"backend control factor rho {scores} passed expectation missed", rows)
