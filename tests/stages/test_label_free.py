"""The stage of scores without labels: its numbers from their definitions, and that nothing but its inputs changes them."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from scipy import stats as scipy_stats

from interpretability.label_free import localizability
from interpretability.label_free.range_scores import HEAVY
from interpretability.label_free.whole_range import probe_rows
from interpretability.margins import unit_rows
from interpretability.networks.capture import Capture
from interpretability.networks.layers import find_layers
from interpretability.synthetic import planted_units
from stages import label_free
from study.errors import StudyError
from study.files.tables import read_json, read_parquet
from study.images.manifest import open_images
from study.label_free import job, localizing, run
from study.label_free.dealing import Dealt
from study.label_free.sources import Source
from study.networks.building import load_network
from study.networks.roster import read_roster, rows_of
from tests.conftest import Study

CHOSEN = {
    "label_free__models": ["tiny", "probed", "chance", "shuffled"],
    "label_free__n_images": 60,
    "label_free__n_range": 40,
    "label_free__n_top": 4,
    "scores__backends": ["oracle", "null"],
    "activations__batch_size": 25,
}


@pytest.fixture
def made(finished_study, tmp_path):
    """A copy of the finished study with parameters of its own."""
    folder = tmp_path / "copy"
    shutil.copytree(finished_study.folder, folder, symlinks=True)
    study = Study(folder)
    study.params(**CHOSEN)
    return study


def scored(study, out="label_free", *more):
    names = ("activations", "tasks", "images", "models", "code")
    flags = [part for name in names for part in (f"--{name}", str(study.folder / name))]
    label_free.main(["--params", str(study.folder / "params.yaml"), *flags, "--out", str(study.folder / out), *more])
    return study.folder / out


def test_numbers_follow_from_their_definitions(made):
    out = scored(made)
    table = read_parquet(out / "units.parquet")
    assert list(table.columns) == run.COLUMNS
    assert (table["backend"].unique() == ["oracle", "null"]).all()
    images, summary = open_images(made.folder / "images"), read_json(made.folder / "tasks/summary.json")
    n_explaining = summary["n_tasks"] * summary["n_explanations"]
    sample = probe_rows(np.arange(len(images)), 60, 0)
    probes = probe_rows(np.arange(len(images)), 40, 0)
    assert set(probes) < set(sample)
    row = next(row for row in rows_of(read_roster(made.folder / "models/roster.csv")) if row["name"] == "tiny")
    network = load_network(row, made.folder / "models", made.code, 0)
    batch = network.preprocessing.batch([images.pixels(int(image)) for image in sample], "cpu")
    layers = find_layers(network.model, batch[:3])
    with Capture(network.model, layers, len(batch), "cpu", shortcut=False) as capture:
        values = capture(batch).numpy().copy()
    from interpretability.synthetic.factors import factor_vectors

    rows = unit_rows(factor_vectors(images.factors)).astype(np.float64)
    state = load_file(made.folder / "activations/tiny.safetensors")
    cosines = rows[sample] @ rows[sample].T
    np.fill_diagonal(cosines, 0)
    mine = table[(table["model"] == "tiny") & (table["backend"] == "oracle")].reset_index(drop=True)
    assert len(mine) == values.shape[1]
    assert mine["rho"].notna().sum() > 5
    for unit, found in mine.iterrows():
        column = values[:, unit].astype(np.float64)
        assert found["firing"] == pytest.approx((column > 0).mean())
        if np.isnan(found["rho"]):
            assert state["max"][unit] - state["min"][unit] < 1e-8
            continue
        weights = column - min(column.min(), float(state["min"][unit]))
        pairs = np.outer(weights, weights)
        score = (pairs * cosines).sum() / (pairs.sum() - np.trace(pairs))
        assert found["ms"] == pytest.approx(score, abs=2e-5)
        sides = [state[f"{side}_images"][unit, :n_explaining] for side in ("top", "bottom")]
        predicted = []
        for image in probes:
            near, far = (np.mean([rows[image] @ rows[each] for each in side if each != image]) for side in sides)
            predicted.append(near - far)
        told = column[np.searchsorted(sample, probes)]
        above = column > min(column.min(), float(state["min"][unit]))
        assert found["heavy_tails"] == (scipy_stats.kurtosis(column, fisher=False) * above.mean() >= HEAVY)
        assert np.isnan(found["rho_se"]) == (found["heavy_tails"] or np.isnan(found["rho"]))
        assert found["rho"] == pytest.approx(np.corrcoef(predicted, told)[0, 1], abs=1e-4)
        assert found["spearman"] == pytest.approx(scipy_stats.spearmanr(predicted, told)[0], abs=0.02)
        best = state["top_images"][unit, :4]
        alike = np.mean([rows[a] @ rows[b] for a in best for b in best if a != b])
        assert np.isnan(found["index"]) or found["index"] == pytest.approx(alike, abs=1e-5)
    assert mine["ms_null"].iloc[0] == pytest.approx(cosines.sum() / (60 * 59))
    assert (mine[["n_range", "n_ms"]].to_numpy() == [40, 60]).all()


def test_locality_is_that_of_the_maps_of_units_and_directions(made):
    table = read_parquet(scored(made) / "units.parquet")
    images = open_images(made.folder / "images")
    sample = probe_rows(np.arange(len(images)), 60, 0)
    rows = {row["name"]: row for row in rows_of(read_roster(made.folder / "models/roster.csv"))}
    matrix = torch.from_numpy(np.load(made.folder / "directions.npy")).double()
    for model in ("tiny", "probed"):
        network, maps = load_network(rows[model], made.folder / "models", made.code, 0), []
        batch = network.preprocessing.batch([images.pixels(int(image)) for image in sample], "cpu")
        network.model.middle.register_forward_hook(lambda *given, maps=maps: maps.append(given[-1].detach().double()))
        with torch.no_grad():
            network.model(batch)
        shown = maps[0] if model == "tiny" else torch.einsum("bchw,cm->bmhw", maps[0], matrix)
        energy = shown.flatten(2) ** 2
        peak = (energy.amax(2) / energy.sum(2)).nanmean(0)
        spread = (energy.sum(2) ** 2 / (energy**2).sum(2) / energy.shape[2]).nanmean(0)
        found = table[(table["model"] == model) & (table["layer"] == "middle") & (table["backend"] == "null")]
        np.testing.assert_allclose(found["peak_energy"], peak, rtol=1e-4)
        np.testing.assert_allclose(found["participation"], spread, rtol=1e-4)
    without = table[table["model"].isin(["chance", "shuffled"])]
    assert len(without)
    assert without[["peak_energy", "participation"]].isna().all(axis=None)


def test_neither_memory_nor_workers_change_a_byte(made, monkeypatch):
    monkeypatch.setattr(job, "BLOCK", 3)
    whole = (scored(made, "whole") / "units.parquet").read_bytes()
    monkeypatch.setenv("MIS_STORE", str(made.folder / "other-store"))
    each = 3 * job.bytes_a_unit([1] * 2, 40)
    passes = []
    monkeypatch.setattr(run, "memory_budget", lambda: 60 * each)
    groups = job.LabelFreeJob.groups
    monkeypatch.setattr(job.LabelFreeJob, "groups", lambda self: passes.append(len(groups(self))) or groups(self))
    parts = (scored(made, "parts") / "units.parquet").read_bytes()
    assert parts == whole
    monkeypatch.setattr(run, "memory_budget", lambda: 4 * each)
    monkeypatch.setenv("MIS_STORE", str(made.folder / "third-store"))
    assert (scored(made, "few") / "units.parquet").read_bytes() == whole
    assert max(passes) > 1, "the images passed more than once"


def test_other_batches_change_last_bits_alone(made, monkeypatch):
    first = read_parquet(scored(made, "first") / "units.parquet")
    made.params(**{**CHOSEN, "activations__batch_size": 17})
    second = read_parquet(scored(made, "second") / "units.parquet")
    first, second = (
        table[table["model"] != "shuffled"] for table in (first, second)
    )  # whose values are dealt by batch
    for name in ("rho", "ms", "index", "firing"):
        np.testing.assert_allclose(first[name], second[name], atol=2e-5, err_msg=name)


def test_an_interrupted_run_goes_on_with_the_networks_that_it_lacks(made, monkeypatch):
    clean = (scored(made, "clean") / "units.parquet").read_bytes()
    monkeypatch.setenv("MIS_STORE", str(made.folder / "other-store"))
    batches, begun = Source.batches, []

    def dies(self, *args, **options):
        begun.append(self.row["name"])
        if len(begun) == 3:
            raise KeyboardInterrupt
        return batches(self, *args, **options)

    monkeypatch.setattr(Source, "batches", dies)
    with pytest.raises(KeyboardInterrupt):
        scored(made, "killed")
    assert (scored(made, "resumed") / "units.parquet").read_bytes() == clean
    assert len(begun) == 5, "two networks were in the store"


def test_a_permuted_network_and_units_of_chance_have_no_score(made):
    made.params(**{**CHOSEN, "label_free__n_images": 0, "label_free__n_range": 100})
    table = read_parquet(scored(made) / "units.parquet").query("backend == 'oracle'")
    assert read_json(made.folder / "label_free/run.json")["n_images"] == len(open_images(made.folder / "images"))
    for name in ("chance", "shuffled"):
        scores = table[table["model"] == name]["rho"].dropna()
        assert len(scores) > 5
        assert abs(scores.mean()) < 4 / np.sqrt(100 * len(scores)) + 0.03, name
        z = table[table["model"] == name]["ms_z"].dropna()
        assert abs(z.mean()) < 4 / np.sqrt(len(z))


def test_dealt_values_are_those_of_the_network_and_keep_what_explains():
    n, units, k = 50, 6, 4
    rng = np.random.default_rng(0)
    values = rng.permuted(np.tile(np.arange(n, dtype=np.float32), (units, 1)), axis=1).T
    order = np.argsort(-values, axis=0).T.astype(np.int32)
    top, bottom = order[:, :k], order[:, ::-1][:, :k]
    keys = np.arange(units, dtype=np.uint64)
    after = np.concatenate(planted_units.permuted_extremes(top, bottom, n, 0, keys), axis=1)
    before = np.concatenate([top, bottom], axis=1)
    known = np.take_along_axis(values.T, before.astype(np.int64), axis=1)
    deal = Dealt(keys, before, after, known, 0)
    images = np.arange(n, dtype=np.int32)
    dealt = deal.deal(images, values)
    for unit in range(units):
        assert (dealt[after[unit], unit] == known[unit]).all()
        assert sorted(dealt[:, unit]) == list(range(n)), "over all images at once it is a permutation"
        assert (dealt[:, unit] != values[:, unit]).mean() > 0.8
    part = images[10:30]
    again = deal.deal(part, values[10:30])
    there = np.isin(after, part)
    for unit in range(units):
        rest = np.setdiff1d(part, after[unit])
        allowed = values[np.setdiff1d(part, before[unit]), unit]
        assert np.isin(again[rest - 10, unit], allowed).all(), "ends of the network are nobody else's"
        assert (again[after[unit][there[unit]] - 10, unit] == known[unit][there[unit]]).all()


def test_no_models_give_an_empty_table_and_unknown_ones_are_refused(made, message):
    made.params(**{**CHOSEN, "label_free__models": []})
    table = read_parquet(scored(made) / "units.parquet")
    assert list(table.columns) == run.COLUMNS
    assert table.empty
    made.params(**{**CHOSEN, "label_free__models": ["tiny", "tyni"]})
    told = message(lambda: scored(made))
    assert "label_free.models names 'tyni'" in told
    assert "tiny" in told
    made.params(**{**CHOSEN, "label_free__n_range": 61})
    assert "label_free.n_range is 61" in message(lambda: scored(made))


def test_a_network_that_fails_is_named_and_the_others_go_on(made, monkeypatch):
    batches = Source.batches

    def fails(self, *args, **options):
        if self.row["name"] == "probed":
            raise ValueError("made to fail")
        return batches(self, *args, **options)

    monkeypatch.setattr(Source, "batches", fails)
    out = scored(made)
    failures = pd.read_csv(out / "failures.csv")
    assert failures[["model", "stage"]].values.tolist() == [["probed", "label_free"]]
    assert "made to fail" in failures["reason"][0]
    assert set(read_parquet(out / "units.parquet")["model"]) == {"tiny", "chance", "shuffled"}
    assert json.loads((out / "run.json").read_text())["backends"] == ["oracle", "null"]


def test_too_little_memory_is_said_with_what_to_do(made, monkeypatch, message):
    monkeypatch.setattr(run, "memory_budget", lambda: 10.0)
    told = message(lambda: scored(made))
    assert "MIS_MEMORY_GB" in told


def test_a_similarity_that_does_not_embed_has_no_rows(made, monkeypatch, caplog):
    from study.label_free import embedded

    there = embedded.embedded_images
    monkeypatch.setattr(
        embedded, "embedded_images", lambda plan, *args: None if plan.name == "null" else there(plan, *args)
    )
    table = read_parquet(scored(made) / "units.parquet")
    assert set(table["backend"]) == {"oracle"}


def test_units_that_are_not_those_of_the_extremes_are_refused(made, monkeypatch):
    batches = Source.batches

    def fewer(self, *args, **options):
        for batch in batches(self, *args, **options):
            yield type(batch)(batch.places, batch.values[:, :5])

    monkeypatch.setattr(Source, "batches", fewer)
    made.params(**{**CHOSEN, "label_free__models": ["tiny", "chance"]})
    with pytest.raises(StudyError, match="it has 5 units"):
        scored(made)


def test_the_plan_computes_no_score(made, capsys):
    scored(made, "planned", "--plan")
    told = capsys.readouterr().out
    assert "tiny" in told
    assert "passes" in told
    assert not (made.folder / "planned").exists()


LOCALIZED = {**CHOSEN, "label_free__models": [], "scores__encoder__model": "vit"}


@pytest.fixture
def colours(monkeypatch):
    """Patches that are mean colours: none of the tiny networks has a map that is large enough."""

    def means(model, batch, sides):
        pool = torch.nn.functional.adaptive_avg_pool2d
        return {side: pool(batch, side).flatten(2).transpose(1, 2) for side in sides}

    monkeypatch.setattr(localizability, "patches", means)


def test_a_network_without_maps_to_compare_is_named(made):
    made.params(**{**LOCALIZED, "label_free__localizability": ["tiny"]})
    failures = pd.read_csv(scored(made) / "failures.csv")
    assert "scores.encoder.model" in failures["reason"][0]
    assert "vit" in failures["reason"][0]


@pytest.mark.usefixtures("colours")
def test_localizability_is_told_by_layer_with_reasons_where_there_is_none(made, message):
    made.params(**{**LOCALIZED, "label_free__localizability": ["tiny", "probed", "chance"]})
    out = scored(made)
    table = pd.read_csv(out / "localizability.csv", keep_default_na=False)
    first = pd.read_csv(out / "localizability.csv")
    assert table.columns.tolist() == localizing.COLUMNS
    assert table["model"].unique().tolist() == ["tiny", "probed", "chance"]
    assert (table.loc[table["model"] == "chance", "reason"] == "its values come with no maps").all()
    assert (table.loc[table["model"] == "probed", "reason"] == "directions and latents are not localized").all()
    own = table[table["model"] == "tiny"]
    there = own[own["reason"] == ""]
    assert len(there)
    assert (there["n_units"].astype(int) > 0).all()
    assert (there["grid"].astype(int) >= 3).all()
    assert there["chance"].astype(float).between(0, 1).all()
    made.params(**{**LOCALIZED, "label_free__localizability": ["ti*"], "activations__batch_size": 7})
    again = pd.read_csv(scored(made) / "localizability.csv")
    pd.testing.assert_frame_equal(again, first[first["model"] == "tiny"], check_dtype=False, rtol=1e-6)
    made.params(**{**LOCALIZED, "label_free__localizability": ["tyni"]})
    assert "label_free.localizability names 'tyni'" in message(lambda: scored(made))


@pytest.mark.usefixtures("colours")
def test_too_little_memory_for_patches_is_said(made, monkeypatch):
    monkeypatch.setattr(localizing, "memory_budget", lambda: 10.0)
    made.params(**{**LOCALIZED, "label_free__localizability": ["tiny"]})
    failures = pd.read_csv(scored(made) / "failures.csv")
    assert "MIS_MEMORY_GB" in failures["reason"][0]
