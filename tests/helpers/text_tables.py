"""Texts of units for the fabricated study of `report_fixture`, as the stages `explanations`, `crowd` and `stats` write them."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from study.files.tables import write_csv, write_json, write_parquet

UNIT = ["model", "layer", "unit"]
RATED_UNITS = (3, 5)  # numbers of the units of two layers of each network that have texts
KNOWN = ("true", "narrow", "broad", "vague", "wrong")
OURS = "calibrated under the model"
ESTIMATORS = {"latent": 0.02, "guide_only": 0.06, "bragg_guide": 0.09, "bragg_uniform": 0.2, "majority": 0.25}
N_DRAWN = 30


def write_texts(folder, rng, networks, layers, n_images, label, *, texts):
    """Everything of texts; without `texts` empty tables with their headers."""
    concepts = [f"{label} star", f"{label} house", f"{label} round", f"{label} red"]
    images = rng.permutation(n_images)
    shows = rng.random((len(concepts), n_images)) < 0.25
    guide = np.clip(0.8 * shows + 0.2 * rng.random(shows.shape) - 0.05, 0.001, 0.999)
    units = [(model, layer, unit) for model in networks for layer, _ in layers[1:3] for unit in RATED_UNITS]
    planted = [("planted", "shape", unit) for unit in range(3)]
    every = [*units, *planted] if texts else []
    strength = {key: 0.3 + 0.05 * (place % 8) for place, key in enumerate(every)}
    values = np.stack([_values(rng, shows[0], strength[key]) for key in every]) if texts else np.empty((0, n_images))
    rows = _texts(units, planted, concepts) if texts else _texts([], [], concepts)
    scored = _scored(rows, dict(zip(every, values, strict=True)), shows, guide, concepts)
    _explanations(folder / "explanations", rng, scored, every, values, images, shows, guide, concepts, texts)
    _crowd(folder / "crowd", rng, scored, texts)
    _tables(folder / "tables", scored, texts)


def _values(rng, shows, strength):
    centred = (shows - shows.mean()) / shows.std()
    return strength * centred + np.sqrt(1 - strength**2) * rng.normal(size=len(shows))


def _texts(units, planted, concepts):
    """Three methods for units of networks, texts of known order for planted ones."""
    linear = json.dumps([{"weight": 2.0, "text": concepts[0]}, {"weight": -0.5, "text": concepts[1]}])
    either = json.dumps({"or": concepts[:2]})
    made = [
        ("best", "simple", concepts[0], ""),
        ("invert", "compositional", f"{concepts[0]} OR {concepts[1]}", either),
        ("le_label", "linear", f"2 {concepts[0]} − 0.5 {concepts[1]}", linear),
        ("other", "simple", concepts[2], ""),
    ]
    rows = [(*key, *of) for key in units for of in made]
    rows += [
        (*key, method, "simple", concepts[at], "")
        for key in planted
        for at, method in zip((0, 1, 2, 3, 1), KNOWN, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=[*UNIT, "method", "kind", "text", "formula"])
    asked = frame["kind"] == "simple"
    return frame.assign(
        pair=np.where(asked, asked.cumsum() - 1, -1).astype(np.int32), source="made here", file="", row=0
    )


def _scored(rows, values, shows, guide, concepts):
    """Texts with the correlation of their unit with presence and with the guide."""
    presence = dict(zip(concepts, shows.astype(float), strict=True))
    machine = dict(zip(concepts, guide, strict=True))

    def predicted(row, by):
        first, second = by[concepts[0]], by[concepts[1]]
        if row.kind == "linear":
            return 2 * first - 0.5 * second
        return 1 - (1 - first) * (1 - second) if row.kind == "compositional" else by[row.text]

    keys = [(row.model, row.layer, row.unit) for row in rows.itertuples()]
    rho = [
        np.corrcoef(values[key], predicted(row, presence))[0, 1]
        for key, row in zip(keys, rows.itertuples(), strict=True)
    ]
    by_guide = [
        np.corrcoef(values[key], predicted(row, machine))[0, 1]
        for key, row in zip(keys, rows.itertuples(), strict=True)
    ]
    recall = [
        {"true": 0.8, "broad": 0.95, "narrow": 0.4, "vague": 0.9, "wrong": 0.2}.get(name, 0.6)
        for name in rows["method"]
    ]
    return rows.assign(rho=np.array(rho, dtype=float), guide=np.array(by_guide, dtype=float), recall=recall)


def _explanations(folder, rng, scored, every, values, images, shows, guide, concepts, texts):
    n = len(images) if texts else 0
    write_parquet(
        folder / "images.parquet",
        pd.DataFrame({"image": images[:n].astype(np.int32), "holdout": np.arange(n) % 2 == 0}),
    )
    write_parquet(folder / "units.parquet", pd.DataFrame(every, columns=UNIT).astype({"unit": np.int64}))
    save_file({"values": values.astype(np.float32)}, folder / "columns.safetensors")
    named = {"presence": shows.astype(np.float32), "guide": guide.astype(np.float32)} if texts else {}
    save_file(named, folder / "presence.safetensors")
    kept = concepts if texts else []
    facts = {"concept": kept, "presence_source": "factors", "guide_source": "simulated", "guide_status": "simulated"}
    write_parquet(folder / "concepts.parquet", pd.DataFrame(facts).astype(str))
    write_parquet(
        folder / "texts.parquet", scored[[*UNIT, "method", "kind", "text", "formula", "source", "file", "row", "pair"]]
    )
    machine = scored[[*UNIT, "method", "kind", "text", "rho", "recall"]].assign(
        n_images=n // 2,
        rho_se=0.04,
        control_rho=0.01,
        control_se=0.04,
        presence_source="factors",
        simulated=False,
        reason="",
    )
    write_parquet(folder / "scores.parquet", machine)
    pairs = scored[scored["pair"] >= 0]
    drawn = [np.sort(rng.choice(images, N_DRAWN, replace=False)) for _ in range(len(pairs))]
    draws = {
        "pair": np.repeat(pairs["pair"].to_numpy(np.int32), N_DRAWN),
        "draw": np.tile(np.arange(N_DRAWN, dtype=np.int32), len(pairs)),
        "image": np.concatenate(drawn).astype(np.int32) if drawn else np.empty(0, np.int32),
        "q": np.full(N_DRAWN * len(pairs), 1 / 400),
        "weight": np.ones(N_DRAWN * len(pairs)),
    }
    write_parquet(folder / "draws.parquet", pd.DataFrame(draws))
    write_json(folder / "run.json", {"study": "0" * 16, "n_images": n, "n_pairs": len(pairs), "simulated": True})


def _crowd(folder, rng, scored, texts):
    """Three ratings of each drawn image; scores a little off the truth."""
    draws = pd.read_parquet(folder.parent / "explanations/draws.parquet")
    said = draws.merge(scored[["pair", "text"]], on="pair")
    labels = said[["text", "image"]].drop_duplicates(ignore_index=True)
    labels = labels.assign(n=np.int32(3), yes=rng.integers(0, 4, len(labels)).astype(np.int32), majority=0.0)
    write_parquet(folder / "labels.parquet", labels)
    found = draws[["pair", "image"]].assign(n=np.int32(3), posterior=rng.random(len(draws)))
    write_parquet(folder / "posteriors.parquet", found)
    pairs = scored[scored["pair"] >= 0]
    rows = [
        pairs[[*UNIT, "method", "text", "pair"]].assign(
            estimator=name,
            rho=pairs["guide"] if name == "guide_only" else pairs["rho"] + error * rng.normal(size=len(pairs)),
            se=0.03,
            low=pairs["rho"] - 0.07,
            high=pairs["rho"] + 0.07,
            status=OURS if name == "latent" else "no interval",
            reason="",
            n_ratings=3 * N_DRAWN,
            rho_true=pairs["rho"],
            raters=raters,
            simulated=True,
        )
        for name, error in ESTIMATORS.items()
        for raters in ("all", "kept")
    ]
    write_parquet(folder / "scores.parquet", pd.concat(rows, ignore_index=True))
    n = 12 if texts else 0
    raters = pd.DataFrame(
        {
            "rater": [f"person {i}" for i in range(n)],
            "n": 90,
            "yes_share": 0.2,
            "agreement": 0.8,
            "false_yes": np.linspace(0.05, 0.6, n),
            "false_no": np.linspace(0.4, 0.1, n),
            "flags": ["agrees with others less than chance" if i == n - 1 else "" for i in range(n)],
        }
    )
    write_csv(folder / "raters.csv", raters)
    write_json(folder / "run.json", {"source": "simulated" if texts else "none", "simulated": texts})


METHODS = (
    "model method score n_units rho_mean rho_se low high guide_only_mean control_mean recall_mean true_mean n_ratings "
    "status simulated"
)
GUIDES = "model method n_units n_clusters guide_mean guide_se second_mean second_se difference spearman simulated"
TESTS = "model score first second n difference low high p_wilcoxon p_t p_holm stars published_t_p"
RATERS = "group n_raters n_ratings yes_share false_yes false_no gold_false_yes gold_false_no agreement seconds_page"
AGREEMENT = "model method n_images kappa alpha bound yes_share prior_mean"
CURVE = (
    "world part method sampler gamma alpha aggregation estimator beta eta eta_assumed errors_assumed budget raters images "
    "ratings rce rce_se bias undefined_share n_units n_draws"
)
COSTS = "world part method level ratings at_most least_rce money ratio ratio_to_ours published_ratings published_ratio"


def _tables(folder, scored, texts):
    def write(name, columns, rows):
        write_csv(folder / f"{name}.csv", pd.DataFrame(rows, columns=columns.split()))

    methods, tests = [], []
    for model, of_model in scored.groupby("model", sort=True):
        for score in ("automatic", *ESTIMATORS):
            asked = of_model if score == "automatic" else of_model[of_model["pair"] >= 0]
            for method, part in asked.groupby("method", sort=True):
                mean, n = part["guide" if score == "guide_only" else "rho"].mean(), len(part)
                ends = (mean - 0.05, mean + 0.05) if score in ("automatic", "latent") else ("", "")
                beside = ("", 0.01, part["recall"].mean()) if score == "automatic" else (part["guide"].mean(), "", "")
                status = "" if score == "automatic" else OURS if score == "latent" else "no interval"
                rated = "" if score == "automatic" else 3 * N_DRAWN * n
                row = (
                    model,
                    method,
                    score,
                    n,
                    mean,
                    0.02,
                    *ends,
                    *beside,
                    part["rho"].mean(),
                    rated,
                    status,
                    score != "automatic",
                )
                methods.append(row)
        for score in ("automatic", "latent"):
            names = sorted(set(of_model.loc[(of_model["pair"] >= 0) | (score == "automatic"), "method"]))
            for first, second in combinations(names, 2):
                tests.append((model, score, first, second, 4, 0.1, 0.05, 0.15, 0.01, 0.008, 0.03, "*", 0.04))
    write("explanation_methods", METHODS, methods)
    write("explanation_tests", TESTS, tests)
    pairs = sorted({(model, method) for model, method, score, *_ in methods if score == "latent"})
    write("explanation_agreement", AGREEMENT, [(*pair, 120, 0.3, 0.31, 0.29, 0.2, 0.18) for pair in pairs])
    guided = [(model, method, n, mean) for model, method, score, n, mean, *_ in methods if score == "bragg_guide"]
    rows = [(*row[:3], row[2], row[3], 0.02, row[3] + 0.03, 0.02, 0.03, 0.9, True) for row in guided]
    write("explanation_guides", GUIDES, rows)
    groups = [("all", 12, 1080), ("kept", 11, 990), ("left out", 1, 90)]
    write(
        "explanation_raters",
        RATERS,
        [(*group, 0.2, 0.15, 0.2, 0.1, 0.3, 0.8, 14.5) for group in groups] if texts else [],
    )
    checked = [("verdict", "", "", "", OURS), ("figure", "bootstrap_coverage", 0.95, "", "")]
    write("explanation_check", "part name value sd words", checked if texts else [])
    rejected = [("day1.csv", "an image that was not asked about", 3, 17)]
    write("explanation_rejected", "file reason count first_row", rejected if texts else [])
    curves = _curves() if texts else pd.DataFrame(columns=CURVE.split())
    write_csv(folder / "crowd_curves.csv", curves)
    best = curves[(curves["part"] == "setting_1") & curves["raters"].isin([0, 3])]
    write_csv(folder / "crowd_pareto.csv", best.assign(front=True))
    costs = [
        ("base-good", "setting_1", "mg_is+bragg_guide", 0.275, 550.0, False, 0.2, 2.2, 1.0, 4.0, 550, 1.0),
        ("base-good", "setting_1", "uniform+majority", 0.275, "", False, 0.6, "", "", "", 22560, 41.018),
        ("base-good", "setting_1", "latent", 0.275, 60.0, True, 0.05, 0.24, 0.11, 1.0, "", ""),
    ]
    write("crowd_costs", COSTS, costs if texts else [])


def _curves():
    """Errors that fall with ratings, by world, sampler, aggregation and setting; rows of CURVE."""
    level = {"average": 0.6, "majority": 0.6, "bragg_uniform": 0.4, "bragg_guide": 0.15, "exact": 0.1}
    better = {"uniform": 1.5, "ag_is": 1.1, "mg_is": 1.0, "all": 1.0}
    usual = {"gamma": 0.2, "alpha": 2.0, "beta": 0.05, "eta": 0.23, "eta_assumed": 0.23, "errors_assumed": "constant"}
    rows = []

    def row(world, part, sampler, aggregation, raters, images, **other):
        sizes = {"raters": raters, "images": images, "ratings": images * raters, "budget": images * raters}
        known = better.get(sampler, 1.0) * (level.get(aggregation, 0.0) + 1 / np.sqrt(max(images * raters, 1)))
        names = {"world": world, "part": part, "sampler": sampler, "aggregation": aggregation, "estimator": "published"}
        facts = {"method": f"{sampler}+{aggregation}", "rce": known, "rce_se": 0.01, "n_units": 40, "n_draws": 10}
        rows.append({**usual, **names, **sizes, **facts, **other})

    for world in ("base-good", "base-mediocre"):
        for images in (60, 180, 600):
            for sampler in ("uniform", "ag_is", "mg_is"):
                row(world, "sampling", sampler, "exact", 1, images)
                for aggregation in ("average", "majority", "bragg_uniform", "bragg_guide"):
                    for raters in (1, 3):
                        row(world, "setting_1", sampler, aggregation, raters, images)
            row(world, "setting_1", "", "", 3, images, method="latent", rce=0.5 / np.sqrt(images))
        row(world, "setting_1", "", "", 0, 0, method="guide_only", rce=0.32)
        for aggregation in ("average", "majority", "bragg_uniform", "bragg_guide"):
            for raters in (1, 3, 10):
                row(world, "aggregation", "all", aggregation, raters, 4000)
    for images in (60, 180):
        for gamma in (0.0, 0.2, 0.5):
            row("base-good", "gamma", "mg_is", "exact", 1, images, gamma=gamma)
        for beta in (0.01, 0.05, 0.2):
            row("base-good", "beta", "mg_is", "bragg_uniform", 3, images, beta=beta)
        for assumed in ("constant", "beta"):
            row("base-good", "error_model", "mg_is", "bragg_guide", 3, images, errors_assumed=assumed)
    return pd.DataFrame(rows).reindex(columns=CURVE.split())
