"""Benchmarks on little data: the forms that they compare agree, and disagreement stops them. Nothing here is timed."""

import argparse
import csv
import functools
import math
import re

import numpy as np
import pandas as pd
import pytest
import timm
import torch

from benchmarks import (
    capture,
    end_to_end,
    flops,
    harness,
    layers_found,
    loading,
    measured_rates,
    projection,
    scaling,
    selection,
    windows,
)
from benchmarks.card_hours import Parts
from interpretability.errors import InputError
from interpretability.networks import layers
from interpretability.networks.preprocessing import Preprocessing
from study.images import manifest
from study.params.whole import load_params
from tests.helpers.rules import ROOT

# --------------------------------------------------------------------------- harness and Makefile


def test_ratios_are_medians_of_ratios_within_a_round():
    slow = [np.array([10.0, 8.0]), np.array([30.0, 8.0]), np.array([8.0, 2.0])]
    fast = [np.array([1.0, 2.0]), np.array([2.0, 4.0]), np.array([2.0, 2.0])]
    # 10, 15 and 4 of the time that passed; 4, 2 and 1 of processor time
    assert harness.ratios(slow, fast) == {"ratio": 10, "ratio_low": 4, "ratio_high": 15, "cpu_ratio": 2}


def test_forms_take_turns_in_changing_order():
    order = []
    forms = {name: lambda name=name: order.append(name) for name in "abc"}
    for turn in range(2):
        assert set(harness.take_turns(forms, turn)) == {"a", "b", "c"}
    assert order == ["a", "b", "c", "b", "c", "a"]


def test_a_process_of_its_own_returns_its_last_line():
    found = harness.in_process("benchmarks.scaling", "--point", "scoring", "--images", 100, "--units", 2)
    assert set(found) == {"seconds", "cpu_seconds", "nearest_us", "peak_bytes"}


def test_make_bench_runs_every_benchmark_of_speed():
    run = set(re.findall(r"python -m benchmarks\.(\w+)", (ROOT / "Makefile").read_text()))
    there = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    # these measure something else, for long, on data that is not there, or once
    scores = {
        "coverage",
        "family_wise",
        "dealing",
        "session_dealing",
        "slopes",
        "seeds",
        "effects",
        "superposition",
        "explanation_kinds",
        "directions",
        "made_scores",
        "judged_pairs",
        "tuning",
        "differentiable",
    }
    others = {
        *scores,
        "covered",
        "covered_parts",
        "crowd_coverage",
        "experiment_folders",
        "experiment_kills",
        "experiment_server",
        "crowd_reference",
        "shown_intervals",
        "summaries",
        "summaries_stages",
        "first_score",
        "first_steps",
        "emulated",
        "flops",
        "gpu",
        "throughput",
        "card_hours",
        "schedule",
        "measured_rates",
        "layers_found",
        "chaos",
        "page",
        "processors",
        "training",
        "visualisations",
    }
    assert there - run == {"__init__", "harness", "made_study"} | (others & there)
    assert run <= there


# --------------------------------------------------------------------------- selection


@pytest.mark.parametrize("case", ["late", "late_zeros", "empty", "empty_zeros", "wide_first"])
def test_both_selections_agree(case):
    args = argparse.Namespace(units=150, images=500, batch=100, late_batches=2)
    times, ties = selection.compare(case, args, turn=1)
    assert set(times) == {"ours", "baseline"}
    assert (ties > 0) == case.endswith("zeros")


@pytest.mark.parametrize("name", windows.STREAMS)
def test_windows_are_exact_or_refused(name):
    times, found, exact = windows.compare(windows.stream(name, 20_000, 3), 500, 1)
    assert exact.mean() == (0 if name == "sorted" else 1)
    assert 0 < found.nbytes < 3 * 20_000 * 8
    assert [len(spent) for spent in times.values()] == [1, 1]


# --------------------------------------------------------------------------- end to end


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("end to end")
    end_to_end.write_inputs(folder, images=700, units=90, dim=48)
    return folder


@pytest.fixture(scope="module")
def found(inputs):
    return {name: form(inputs, lambda phase: None) for name, form in end_to_end.FORMS.items()}


@pytest.mark.parametrize("form", ["careful", "published"])
def test_the_three_ways_from_activations_to_scores_agree(found, form):
    with_ties, difference = end_to_end.compare(found["ours"], found[form])
    assert with_ties <= 2
    assert 0 < difference <= 1e-6
    assert found[form]["mis"].mean() > 0.51  # units and embeddings share a latent space, so scores say something


def test_the_top_of_a_selection_is_the_largest_activations(inputs, found):
    values = np.load(inputs / "activations.npy")
    assert np.array_equal(found["ours"]["top_values"], np.sort(values, axis=0)[::-1][:200].T)


@pytest.mark.parametrize(
    ("column", "change", "says"),
    [
        ("mis", lambda mis: mis + 2e-6, "MIS differs by 2"),
        ("top", lambda top: top[:, ::-1], "top side: images differ"),
        ("bottom_values", lambda values: values + 1, "bottom side: the selected values differ"),
    ],
)
def test_disagreement_end_to_end_is_an_error(found, column, change, says):
    with pytest.raises(AssertionError, match=says):
        end_to_end.compare(found["ours"], {**found["careful"], column: change(found["careful"][column])})


def test_ties_may_be_settled_otherwise():
    values = np.tile(np.float32([3, 2, 2, 1]), (2, 1))
    lists = {"top": np.array([[0, 1, 2, 3], [4, 5, 6, 7]]), "bottom": np.array([[0, 1, 2, 3], [4, 5, 6, 7]])}
    mine = {**lists, "top_values": values, "bottom_values": values, "mis": np.array([0.5, 0.6])}
    swapped = np.array([[0, 2, 1, 3], [4, 5, 6, 9]])  # two in the middle, and the last one against one outside
    assert end_to_end.compare(mine, mine) == (0, 0)
    with pytest.raises(AssertionError, match="no unit has the same lists"):
        end_to_end.compare(mine, {**mine, "top": swapped})
    assert end_to_end.compare(mine, {**mine, "top": swapped[[0, 0]] * [[1], [0]] + lists["top"] * [[0], [1]]}) == (1, 0)


# --------------------------------------------------------------------------- capture


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_captured_values_are_means_of_outputs(precision):
    forms = capture.Forms("test_resnet", 2, torch.device("cpu"), precision, seen=0)
    assert forms.check() <= capture.TOLERANCES[precision]
    assert forms.n_units == sum(layer.width for layer in forms.layers) > 100


def test_selection_beside_a_forward_pass_finds_the_extremes():
    forms = capture.Forms("test_resnet", 3, torch.device("cpu"), "float32", seen=0)
    values = []
    for turn in (1, 2):
        forms.turn(turn)
        values.append(forms.captured().numpy().copy())
        forms.selected()
    values = np.concatenate(values)
    assert np.array_equal(forms.extremes.ranked().top_values, np.sort(values, axis=0)[::-1].T)
    assert np.allclose(forms.moments.mean_variance()[0], values.mean(axis=0), atol=1e-6)


def test_wrongly_captured_values_are_an_error(monkeypatch):
    forms = capture.Forms("test_resnet", 2, torch.device("cpu"), "float32", seen=0)
    right = layers.unit_values
    monkeypatch.setattr("interpretability.networks.capture.unit_values", lambda *args: right(*args) + 0.5)
    with pytest.raises(AssertionError, match=r"test_resnet: captured values of .* are off by"):
        forms.check()


# --------------------------------------------------------------------------- loading


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    loading.write_photographs(folder / "pictures", 20)
    return folder


def test_photographs_are_as_large_as_photographs(photographs, tmp_path):
    sizes = [path.stat().st_size / 1e3 for path in sorted((photographs / "pictures").rglob("*.jpg"))]
    assert len(sizes) == 20
    assert 92 < np.mean(sizes) < 110
    loading.write_photographs(tmp_path, 1)
    again = next(tmp_path.rglob("*.jpg"))
    assert again.read_bytes() == (photographs / "pictures" / again.relative_to(tmp_path)).read_bytes()


def test_every_way_to_load_gives_the_same_pixels(photographs, tmp_path):
    images = loading.described(photographs / "pictures", tmp_path)
    forms = loading.Forms(images, photographs / "pictures", files=6, batch=4, store=tmp_path)
    assert len(forms.rows) == 6
    most, mean = forms.check()
    assert 0 < mean < 0.05 < most < 2.01
    for form in forms.named().values():
        form()


def test_another_picture_is_an_error(photographs, tmp_path, monkeypatch):
    images = loading.described(photographs / "pictures", tmp_path)
    forms = loading.Forms(images, photographs / "pictures", files=2, batch=2, store=tmp_path)
    right = loading.torchvision_pixels
    monkeypatch.setattr(loading, "torchvision_pixels", lambda path: right(path)[::-1])
    with pytest.raises(AssertionError, match="decode other pixels"):
        forms.check()


def test_networks_of_one_pass_share_each_decoded_picture(photographs, tmp_path):
    found = loading.decodings(photographs / "pictures", tmp_path, ("test_resnet", "test_vit"))
    # every picture once, and the first four once more for each network that is traced on them
    assert found == {"networks": 2, "images": 20, "decodings": 20 + 4 * 2, "decoded_once": 16, "unshared": 40}


def test_what_cores_feed_is_bound_by_their_work_or_by_python(photographs, tmp_path):
    loading.write_photographs(tmp_path / "small", 20, (loading.SMALL, loading.SMALL))
    for name in ("large images", "small images"):
        (tmp_path / name).mkdir()
    large = loading.described(photographs / "pictures", tmp_path / "large images")
    small = loading.described(tmp_path / "small", tmp_path / "small images")
    view = Preprocessing(12, 25, loading.MEAN, loading.STD)
    with loading.resized_at_once():
        assert not view.seen(small.pixels(0)).any()
    assert view.seen(small.pixels(0)).any(), "resizing is as before"
    rows = loading.feeding(large, small, 1)
    assert [row["views"] for row in rows] == [1, 2, 4, 8]
    for row in rows:
        rate = min(16 * row["images_per_cpu_s"], 1e6 / row["python_us"])
        assert row["fed"] == pytest.approx(rate)
        assert row["waits"] == pytest.approx(max(0, 1 - rate / 1050))
        assert row["core_share"] == pytest.approx(1050 / (16 * row["images_per_cpu_s"]))


def test_a_picture_decoded_twice_is_an_error(photographs, tmp_path, monkeypatch):
    right = manifest.ImageSet.pixels
    monkeypatch.setattr(manifest.ImageSet, "pixels", lambda self, row: (right(self, row), right(self, row))[1])
    with pytest.raises(AssertionError, match="were decoded"):
        loading.decodings(photographs / "pictures", tmp_path, ("test_resnet",))


# --------------------------------------------------------------------------- scaling


def runs():
    """Runs whose cost is a known power of size: time n^1 u^1, memory u^1 alone, both with a little noise."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(3):
        for phase, series, images, n_units in scaling.points(1):
            time, room = (np.exp(0.02 * rng.standard_normal()) for _ in range(2))
            rows.append(
                {
                    "phase": phase,
                    "series": series,
                    "images": images,
                    "units": n_units,
                    "cpu_seconds": 1e-9 * images * n_units * time,
                    "peak_bytes": 8e3 * n_units * room,
                }
            )
    return pd.DataFrame(rows)


def test_exponents_are_those_of_the_runs():
    fits = scaling.exponents(runs()).set_index(["phase", "series", "quantity"])
    assert len(fits) == 6
    for (_, series, quantity), fit in fits.iterrows():
        right = 0 if (series, quantity) == ("images", "peak_bytes") else 1
        assert fit["low"] < right < fit["high"]
        assert fit["high"] - fit["low"] < 0.06


def test_the_figure_is_the_same_bytes_every_time():
    table = runs().groupby(["phase", "series", "images", "units"], as_index=False).median()
    fits = scaling.exponents(runs())
    drawn = scaling.figure(table, fits)
    assert drawn == scaling.figure(table, fits)
    assert f"selection: {fits['exponent'][0]:.2f} (" in drawn


def test_costs_are_those_of_the_kernels():
    found = scaling.selection(450, 40)
    assert found["peak_bytes"] >= 0
    assert 0 < found["moments_s"] < found["cpu_seconds"]


# --------------------------------------------------------------------------- operations


def test_operations_are_two_a_multiply_add():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 6 * 6, 5))
    # 6 * 6 places of 8 channels that sum 3 * 3 * 3 products, then 5 sums of 288
    assert flops.operations(network, (3, 8, 8)) == 2 * (36 * 8 * 27 + 5 * 288)


def test_a_network_that_cannot_be_counted_says_why(tmp_path):
    roster = tmp_path / "roster.csv"
    rows = [
        ("name", "constructor"),
        ("small", "test_vit"),
        ("scaled", "test_convnext"),
        ("odd", "nothing_like_this"),
        ("noise", "control:chance"),
    ]
    with roster.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    rules = load_params(ROOT / "params.yaml").units
    table = flops.table(roster, ROOT / "data/external/code", rules).set_index("model")
    assert list(table.index) == ["small", "scaled", "odd"]
    assert min(table.loc["small", ["gflop", "mactivations"]]) > 0
    assert table.loc["small", "depthwise"] == 0
    assert table.loc["scaled", "depthwise"] > 0
    assert table.loc["small", "reason"] == ""
    assert "no timm name" in table.loc["odd", "reason"]


def test_the_committed_operations_are_of_the_whole_roster():
    counted = projection.table(flops.NAME, "flops")
    roster = pd.read_csv(ROOT / "data/external/models/imagenet_units.csv")
    assert set(counted["model"]) == set(roster["model"])
    assert not (counted["reason"] != "").any()
    # He et al. count 3.8e9 multiply-adds for ResNet-50, torchvision's variant has 4.1e9
    assert counted.set_index("model").loc["resnet50", "gflop"] == pytest.approx(2 * 4.09, rel=0.01)
    # Radosavovic et al. count 11.1e6 activations of ResNet-50
    assert counted.set_index("model").loc["resnet50", "mactivations"] == pytest.approx(11.1, rel=0.01)
    # Sandler et al., table 2: a depthwise convolution in each of 17 bottlenecks of MobileNetV2
    assert counted.set_index("model").loc[["resnet50", "mobilenetv2_100.ra_in1k"], "depthwise"].tolist() == [0, 17]


# --------------------------------------------------------------------------- layers


def test_layers_are_counted_by_calls_and_in_all():
    sized = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 5}
    build = functools.partial(timm.create_model, "beit_base_patch16_224", **sized)
    row = layers_found.counts(
        layers_found.Case("small", "timm", build, 32), load_params(ROOT / "studies/imagenet.yaml").units
    )
    # of two blocks: norm1, proj, norm2, fc1 (64 wide), fc2; then fc_norm, without the head
    called = {"layers_called": 11, "units_called": 2 * (4 * 16 + 64) + 16}
    assert row == {
        "network": "small",
        "of": "timm",
        "input_size": 32,
        "left_out": 0,
        **called,
        "layers": 13,
        "units": called["units_called"] + 2 * 48,
    }


def test_the_committed_count_of_layers_is_that_of_the_annotated_networks():
    table = pd.read_csv(ROOT / "benchmarks/results/layers_found.csv").set_index("network")
    names = pd.read_csv(ROOT / "data/external/models/imi_names.csv")["name"]
    annotated = table.loc[names]
    assert (annotated["layers"] == annotated["layers_called"]).all()
    of = table.loc[["vit_b_16", "vit_base_patch16_224"], ["layers", "units"]]
    assert (of.to_numpy() == [73, 102144]).all(), "one network in two packages"


# --------------------------------------------------------------------------- projection


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Measured tables with round numbers."""
    tables = {
        "loading": {"case": ["decoded", "ours"], "images_per_cpu_s": [500, 400]},
        "capture": {
            "device": ["cpu"] * 3,
            "precision": ["float32"] * 3,
            "threads": [2] * 3,
            "gflop_per_s": [100, 40, 160],
            "capture_ratio": [1.1, 1.05, 1.3],
        },
        "scaling": {
            "phase": ["selection", "scoring"],
            "series": ["images"] * 2,
            "images": [1000] * 2,
            "units": [100] * 2,
            "cpu_seconds": [0.0002, 0.01],
            "nearest_us": [None, 200],
            "peak_bytes": [1_200_000, 0],
        },
        "similarities": {
            "backend": ["dreamsim", "dists"],
            "size": [224] * 2,
            "ms_cold": [2000, 300],
            "ms_cached": [1, 60],
            "n_tasks": [20, 4],
            "distinct": [20, 60],
        },
        "summaries": {"part": ["tables"], "n_units": [1000], "cpu_seconds": [36], "file_gib": [0.5], "peak_gib": [2]},
        "forward_flops": {"model": ["a", "b"], "n_params": [10, 30], "gflop": [2, 6]},
    }
    for name, table in tables.items():
        pd.DataFrame(table).to_csv(tmp_path / f"{name}.csv", index=False)
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(harness, "COMMITTED", tmp_path)
    monkeypatch.setattr(measured_rates.os, "sched_getaffinity", lambda process: {0, 1})
    return tmp_path


def hours(rates, card=None, uneven=1.0, exact=None):
    study = projection.Study(images=7200, networks=10, units=5000, compared=500)
    rows = projection.phases(
        study,
        rates,
        4.0,
        {"dreamsim": 100.0, "dists": 30.0},
        projection.table("similarities", "similarities"),
        projection.table("summaries", "summaries"),
        card,
        exact,
    )
    return {row["phase"]: row for row in [*rows, *projection.totals(rows, uneven)]}


def test_hours_are_amounts_over_measured_rates(results):
    found = hours(projection.measured())
    expected = {
        "decode": 10 * 7200 / (2 * 500) / 3600,
        "resize": 10 * 7200 / (2 * 2000) / 3600,  # 1 / 400 - 1 / 500 second a picture
        "forward": 10 * 7200 * 4 / (2 * 50) / 3600,  # the middle of 100, 40 and 160 GFLOP a second on two threads
        "capture": 0.1 * 10 * 7200 * 4 / (2 * 50) / 3600,
        "selection": 7200 * 5000 * 2e-9 / 2 / 3600,
        "embedding dreamsim": 7200 * 0.1 / 2 / 3600,
        "scoring dreamsim": 5000 * 1e-4 / 2 / 3600,
        "near-duplicates dreamsim": 5000 * 2e-4 / 2 / 3600,
        "features dists": 400 * 5000 * 0.016 / 2 / 3600,  # (300 - 60) ms a task of 15 pictures
        "tasks dists": 20 * 5000 * 0.06 / 2 / 3600,
        "features dists, networks of scores.feature_models": 400 * 500 * 0.016 / 2 / 3600,
        "tasks dists, networks of scores.feature_models": 20 * 500 * 0.06 / 2 / 3600,
        "statistics, tables": 5000 * 0.036 / 3600,
    }
    assert {phase: row["hours"] for phase, row in found.items() if phase != "study"} == pytest.approx(expected)
    assert found["forward"]["hours_low"] == pytest.approx(expected["forward"] * 50 / 80)
    assert found["forward"]["hours_high"] == pytest.approx(expected["forward"] * 50 / 20)
    assert math.isnan(found["decode"]["hours_low"])
    without = sum(value for phase, value in expected.items() if "dists" not in phase)
    assert found["study"]["hours"] == pytest.approx(without)


def test_other_hardware_takes_its_own_rates_and_the_rest_from_here(results, tmp_path):
    path = tmp_path / "rates.csv"
    path.write_text("rate,value,source\ncores,8,a table\ngpus,2,a table\nforward_tflop_per_s,0.5,a guess\n")
    found = hours(projection.given(path, ["networks_per_pass=4"], projection.measured()))
    assert found["decode"]["hours"] == pytest.approx(3 * 7200 / (8 * 500) / 3600)  # ten networks are three passes
    assert found["decode"]["basis"].endswith("; as a core here")
    assert found["forward"]["on"] == "gpus"
    assert found["forward"]["hours"] == pytest.approx(10 * 7200 * 0.004 / (2 * 0.5) / 3600)
    assert found["forward"]["basis"].endswith("a guess")
    assert found["selection"]["on"] == "cores"  # nobody said how fast a GPU selects
    assert found["embedding dreamsim"]["hours"] == pytest.approx(7200 * 0.1 / (2 * 0.5) / 3600)
    # phases on cores and on GPUs run side by side, statistics after them
    spent = {
        on: sum(row["hours"] for phase, row in found.items() if row["on"] == on and "dists" not in phase)
        for on in ("cores", "gpus", "one core")
    }
    assert found["study"]["hours"] == pytest.approx(max(spent["cores"], spent["gpus"]) + spent["one core"])


@pytest.mark.parametrize(("name", "gpus"), [("one_gpu", 1), ("eight_gpus", 8)])
def test_the_committed_rates_are_understood(results, name, gpus):
    rates = projection.given(ROOT / f"benchmarks/rates/{name}.csv", [], projection.measured())
    assert rates["gpus"].value == gpus
    assert rates["cores"].value == 16 * gpus
    assert rates["forward_tflop_per_s"].source.endswith(projection.HERE), "hours of GPUs come network by network"


def test_hours_of_a_card_are_shared_by_all_of_them(results):
    rates = projection.given(None, ["gpus=2", "cores=4"], projection.measured())
    card = Parts((6.0, 8.0, 11.0), 1.0, 0.5, 0.25, 30, "a source")
    found = hours(rates, card, uneven=1.2, exact={"dreamsim": 0.25 * 3600 / 7200, "dists": 0.01})
    forward = found["forward"]
    assert [forward[name] for name in ("hours", "hours_low", "hours_high")] == pytest.approx([4, 3, 5.5])
    assert [found[name]["hours"] for name in ("capture", "selection", "embedding dreamsim")] == pytest.approx(
        [0.5, 0.25, 0.125]
    )
    assert found["features dists"]["hours"] == pytest.approx(400 * 5000 * 0.01 / 2 / 3600), "in float32"
    assert "float32" in found["features dists"]["basis"]
    assert found["compile"]["on"] == "cores"
    assert found["compile"]["hours"] == pytest.approx(30 * 60 / 4 / 3600)
    assert found["study"]["hours"] == pytest.approx(1.2 * 4.875 + found["statistics, tables"]["hours"])
    assert "a source" in forward["basis"]


def test_a_measured_gpu_takes_the_place_of_cores(results):
    table = {
        "device": ["Some GPU"],
        "precision": ["float16"],
        "threads": [1],
        "gflop_per_s": [5000],
        "capture_ratio": [1.2],
        "capture_s": [0.1],
        "select_s": [0.3],
        "batch": [100],
        "units": [1000],
    }
    pd.DataFrame(table).to_csv(results / "capture_cuda.csv", index=False)
    found = hours(projection.measured())
    assert found["forward"]["on"] == found["selection"]["on"] == "gpus"
    assert found["forward"]["hours"] == pytest.approx(10 * 7200 * 0.004 / 5 / 3600)
    assert found["selection"]["hours"] == pytest.approx(7200 * 5000 * 2e-6 / 3600)  # 0.2 s for 100,000 values
    assert found["decode"]["hours"] == pytest.approx(2 * 7200 / (2 * 500) / 3600)


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("speed=3", "rate 'speed' is unknown; allowed: cores"),
        ("cores=many", "cores is 'many', it must be a number"),
        ("cores=0", "cores is 0, it must be positive"),
    ],
)
def test_wrong_rates_are_refused(results, pair, says):
    with pytest.raises(InputError, match=says):
        projection.given(None, [pair], projection.measured())


def test_a_missing_table_names_the_command(results):
    (results / "loading.csv").unlink()
    with pytest.raises(InputError, match=r"no loading\.csv .* python -m benchmarks\.loading"):
        projection.measured()


def test_space_follows_from_the_arrays(results):
    study = projection.Study(images=1_281_167, networks=10, units=1000, compared=100)
    unit_table = pd.DataFrame({"model": ["a", "a", "b"], "n_units": [70, 80, 100]})
    rows = {row["item"]: row for row in projection.space(study, projection.table("forward_flops", "flops"), unit_table)}
    # two saved states of two sides of 201 keys of 8 bytes, 2 * 22 bins and a count of 8 bytes
    assert rows["saved states, mean network"]["gigabytes"] == pytest.approx(100 * 2 * (2 * 201 + 2 * 22 + 1) * 8 / 1e9)
    assert rows["tasks"]["gigabytes"] == pytest.approx(1000 * 20 * 20 * 4 / 1e9)
    assert rows["embeddings"]["gigabytes"] == pytest.approx(1_281_167 * 1792 * 4 / 1e9)
    assert rows["selection and moments, widest network"]["gigabytes"] == pytest.approx(150 * 12_000 / 1e9)
    assert rows["extremes"]["bytes_each"] > 2 * 200 * 8
