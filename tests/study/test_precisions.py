"""What is said of the precision of networks, and what becomes of one that float16 does not hold."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from interpretability.errors import InputError
from interpretability.networks.preprocessing import Preprocessing
from interpretability.schema import UNREACHABLE
from interpretability.visualisations import making
from stages import activations, visualisations
from study.extraction import arithmetic, passes, results, running
from study.extraction.running import Running
from study.files.store import WorkStore
from study.files.tables import read_json, read_parquet
from study.images.made import NOTE
from study.images.manifest import open_images
from study.label_free.parameters import LabelFreeParams
from study.label_free.sources import Source
from study.networks.forms import forms_words
from study.networks.precisions import (
    Overflow,
    noted_precision,
    precision_words,
    ran_in_words,
    refuse_overflow,
    unless_asked,
)
from study.networks.roster import read_roster, rows_of
from study.params.reading import load
from study.workers.device import Failure
from tests.conftest import PREPROCESSING


def test_only_float16_is_refused_for_values_that_are_not_finite():
    bad = torch.tensor([[1.0, float("inf")]])
    for values, precision in ((bad, "tf32"), (bad, "bfloat16"), (bad, "float32"), (bad[:, :1], "float16")):
        refuse_overflow(values, precision)
    for number in ("inf", "nan"):
        with pytest.raises(Overflow):
            refuse_overflow(torch.tensor([0.0, float(number)]), "float16")


def test_words_name_networks_and_the_reason():
    assert (
        ran_in_words("float16", {"b": "tf32", "a": "tf32"}, 5)
        == "2 of 5 networks ran in tf32, because float16 held not all of their values: a, b"
    )
    assert (
        ran_in_words("tf32", {"a": "float32"}, 1) == "1 of 1 network ran in float32, because their device knows no tf32"
    )
    many = {f"n{number:02}": "tf32" for number in range(30)}
    assert ran_in_words("float16", many, 40).endswith(", n18, n19 and 10 more")
    assert precision_words("float32", {}, 3) == ""
    assert precision_words("bfloat16", {}, 3) == "Networks ran in bfloat16, with means and order in float32."
    assert precision_words("float16", {"a": "tf32"}, 3).endswith(
        "in float32; 1 of 3 networks ran in tf32, because float16 held not all of their values: a."
    )
    assert (
        precision_words("tf32", {"b": "float32", "a": "float32"}, 2)
        == "No network ran in tf32, as was asked for: 2 of 2 networks ran in float32, because their device knows no tf32; "
        "means and order in float32."
    )


def test_words_name_the_forms_that_change_bits():
    assert forms_words({}, 3) == ""
    assert forms_words({"a": "compiled", "b": "compiled"}, 2) == (
        "2 of 2 networks ran compiled, which changes last bits."
    )
    assert forms_words({"d": "compiled", "a": "compiled", "c": "compiled in part"}, 5) == (
        "2 of 5 networks ran compiled, which changes last bits: a, d; 1 of 5 networks ran compiled for a part of the pictures, "
        "which changes last bits: c."
    )


def test_a_precision_that_workers_lack_is_told(monkeypatch):
    workers = ["cpu"]
    monkeypatch.setattr(arithmetic, "devices", lambda: workers)
    assert arithmetic.used_by_workers("tf32") == "float32"
    said = arithmetic.warning("tf32", "float32")
    assert (
        "activations.precision is tf32, which the devices of the workers do not know, so networks run in float32"
        in said
    )
    for precision in ("float32", "float16"):
        assert arithmetic.used_by_workers(precision) == precision
        assert arithmetic.warning(precision, precision) == ""
    assert arithmetic.warning("tf32", "tf32") == ""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5) if device.index else (8, 0))
    for first, used in (("cuda:0", "tf32"), ("cuda:1", "float32")):
        workers[0] = first
        assert arithmetic.used_by_workers("tf32") == used
    workers[0] = "cuda"  # of a cluster, where a worker is asked
    monkeypatch.setattr(arithmetic, "ask_worker", lambda job: job.run())
    assert arithmetic.used_by_workers("tf32") == "float32", "of this process, which is no worker on a GPU"
    monkeypatch.setattr(arithmetic, "ask_worker", lambda job: Failure("gone"))
    with pytest.raises(InputError, match="cannot tell whether its GPU knows tf32: gone"):
        arithmetic.used_by_workers("tf32")


# beyond what float16 holds for pictures that are brighter than a limit, in the middle and in nothing else
CODE = """
import torch
from torch import nn

class Bright(nn.Module):
    def __init__(self, limit):
        super().__init__()
        self.first, self.middle, self.last = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 6, 3), nn.Linear(6, 3)
        self.limit = limit

    def forward(self, images):
        scale = torch.where(images.mean((1, 2, 3), keepdim=True) > self.limit, 1e6, 1.0)
        return self.last((self.middle(self.first(images).relu() * scale) / scale).mean((2, 3)))

def network(limit):
    return Bright(limit)
"""


@pytest.fixture
def bright(drawn_study):
    """Call with the share of pictures that float16 holds, the first of all among them; gives the study."""

    def made(precision, late):
        images, view = open_images(drawn_study.folder / "images"), Preprocessing.parse(PREPROCESSING, "bright")
        means = view.batch([images.pixels(row) for row in range(len(images))]).mean((1, 2, 3))
        limit = float(means[:4].max()) if late else -100.0
        assert (means > limit).any()
        drawn_study.params(activations__precision=precision)
        drawn_study.roster(
            {"name": "net"},
            {"name": "bright", "constructor": "bright:network", "kwargs": json.dumps({"limit": limit})},
            {"name": "chance", "constructor": "control:chance", "role": "control", "weights": "none"},
        )
        (drawn_study.code / "bright.py").write_text(CODE)
        drawn_study.run_models()
        return drawn_study

    return made


@pytest.mark.parametrize("late", [False, True], ids=["its first images", "a later one"])
def test_a_network_that_float16_does_not_hold_runs_in_tf32(bright, late, monkeypatch, caplog):
    monkeypatch.setenv("MIS_NETWORKS_PER_PASS", "2")
    monkeypatch.setattr(passes, "_SAVE_EVERY", -1)
    study = bright("float16", late)
    out = study.run_activations("half")
    assert (out / "failures.csv").read_text().strip() == "model,stage,reason"
    note = read_json(out / "run.json")
    assert note["ran_in"] == {"bright": "float32"}, "a processor has no TF32"
    assert note["n_networks"] == 2, "without the control"
    words = "1 of 2 networks ran in float32, because float16 held not all of their values: bright"
    assert words in caplog.text
    states = [path for path in WorkStore.open().folder.rglob("*") if path.parent.parent.name == "states"]
    assert not states, "those of both precisions are gone"
    again = study.run_activations("again")  # found under the precision that was asked for
    assert (again / "run.json").read_bytes() == (out / "run.json").read_bytes()
    study.params(activations__precision="tf32")
    other = study.run_activations("tf32")
    for name in ("bright", "net"):
        whole, half = (load_file(folder / f"{name}.safetensors") for folder in (other, out))
        assert all((whole[key] == half[key]).all() for key in whole) == (name == "bright")
    assert read_json(other / "run.json")["ran_in"] == {"bright": "float32", "net": "float32"}
    assert "2 of 2 networks ran in float32" in caplog.text


def test_a_network_that_fell_back_goes_on_where_it_was(bright, monkeypatch):
    study, steps, usual = bright("float16", True), [], Running.step
    monkeypatch.setattr(passes, "_SAVE_EVERY", -1)

    def step(self, rows, batch):
        steps.append((self.seat.name, self.seat.precision, int(rows[0])))
        if self.seat.precision == "tf32" and rows[0] == 32 and ending:
            raise KeyboardInterrupt
        return usual(self, rows, batch)

    monkeypatch.setattr(Running, "step", step)
    ending = True
    with pytest.raises(KeyboardInterrupt):
        study.run_activations()
    ending = False
    steps.clear()
    study.run_activations()
    assert [each for each in steps if each[0] == "bright"] == [("bright", "tf32", 32), ("bright", "tf32", 48)]


@pytest.mark.parametrize(
    ("phase", "key"),
    [
        ("states", lambda shared, precision: running.state_key(shared, 1, precision)),
        ("states", lambda shared, precision: running.state_key(shared, 0, precision, second=True)),
        ("windows", running.first_key),
    ],
)
def test_whatever_a_fallback_has_left_is_seen(tmp_path, phase, key):
    store, shared = WorkStore(tmp_path), {"model": "net", "precision": "float16"}

    def left(precision):
        store.write(phase, key(shared, precision), running.SUFFIX, lambda path: path.write_bytes(b"x"))
        return running.has_fallen_back(store, shared)

    assert [left(precision) for precision in ("float16", "tf32")] == [False, True]


def test_what_no_precision_holds_is_named(bright, monkeypatch):
    study = bright("float16", False)
    study.params(activations__precision="float16", activations__max_failed=0.5)
    usual = Running.step

    def step(self, rows, batch):
        return usual(self, rows, batch * float("nan") if self.seat.name == "bright" else batch)

    monkeypatch.setattr(Running, "step", step)
    [row] = pd.read_csv(study.run_activations() / "failures.csv").to_dict("records")
    assert row["model"] == "bright"
    assert re.fullmatch(r"layer middle, unit 0 is nan for image \S+; nor was it finite in float16", row["reason"])


def test_a_study_in_tf32_is_told_before_any_network_runs(drawn_study, monkeypatch, caplog, capsys):
    drawn_study.params(activations__precision="tf32")
    drawn_study.roster({"name": "net"})
    drawn_study.run_models()
    words = "activations.precision is tf32, which the devices of the workers do not know"
    activations.main([*drawn_study._flags("params.yaml", "images", "code", "models"), "--plan"])
    told = capsys.readouterr().out
    assert words in told
    assert "forward passes in float32" in told

    def extract_all(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "extract_all", extract_all)
    with pytest.raises(KeyboardInterrupt):
        drawn_study.run_activations()
    assert words in caplog.text


def test_a_study_in_bfloat16_is_warned(drawn_study, caplog):
    drawn_study.params(activations__precision="bfloat16")
    drawn_study.roster({"name": "net"})
    drawn_study.run_models()
    out = drawn_study.run_activations()
    assert "MIS of a single unit moves by about as much as with another seed" in caplog.text
    assert "ran_in" not in read_json(out / "run.json")


def test_later_stages_follow_what_the_activations_noted(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"ran_in": {"fell": "tf32"}}))
    for asked, name, expected in (
        *(("float16", "fell", "tf32"), ("float16", "other", "float16")),
        *(("tf32", "fell", "tf32"), ("float32", "fell", "float32"), ("bfloat16", "fell", "bfloat16")),
    ):
        assert noted_precision(asked, name, tmp_path) == expected
    (tmp_path / "run.json").write_text("{}")
    assert noted_precision("float16", "fell", tmp_path) == "float16"
    assert noted_precision("float32", "any", tmp_path / "nowhere") == "float32", "is not read"
    assert unless_asked("float16", "tf32") == {"ran_in": "tf32"}
    assert unless_asked("tf32", "tf32") == {}


@pytest.fixture
def fallen(bright):
    """The study of a network that fell back late, with its activations; gives the folder of these, too."""
    study = bright("float16", True)
    return study, study.run_activations()


def forget_note(out):
    """As of a network whose values were all finite there."""
    note = read_json(out / "run.json")
    note.pop("ran_in")
    (out / "run.json").write_text(json.dumps(note))


def test_scores_without_labels_read_a_network_in_the_precision_that_was_noted(fallen, caplog):
    study, out = fallen
    rows = {row["name"]: row for row in rows_of(read_roster(study.folder / "models/roster.csv"))}
    images = open_images(study.folder / "images")
    everything, ran = np.arange(len(images), dtype=np.int32), []

    def source(name):
        params = load(study.folder / "params.yaml", LabelFreeParams)
        return Source.noted(rows[name], params, out, study.folder / "models", study.code)

    def values(source):
        ran.append(source.precision)
        return np.concatenate([np.asarray(batch.values) for batch in source.batches(images, everything)])

    known = source("bright").held(values)
    assert np.isfinite(known).all()
    assert known.max() > 65504, "of half precision"
    source("net").held(values)
    assert ran == ["tf32", "float16"]
    assert "starts again" not in caplog.text
    ran.clear()
    forget_note(out)
    assert (source("bright").held(values) == known).all()
    assert ran == ["float16", "tf32"]
    assert "bright: float16 does not hold all its values; its pass starts again in tf32" in caplog.text


def test_images_are_made_in_the_precision_that_was_noted(fallen, caplog):
    study, out = fallen
    study.params(
        activations__precision="float16",
        visualisations__units=["bright/middle/0", "bright/middle/1", "net/middle/0"],
        visualisations__n_images=2,
        visualisations__steps=2,
        visualisations__n_natural=0,
    )

    def made(name):
        flags = study._flags("params.yaml", "images", "code", "models", "activations")
        visualisations.main([*flags, "--out", str(study.folder / name)])
        table = read_parquet(study.folder / name / "units.parquet")
        assert len(table) == 12
        return table, read_json(study.folder / name / NOTE)

    noted, note = made("noted")
    assert "float16 does not hold" not in caplog.text
    assert [where.endswith(" tf32") for where in note["made_on"]] == [False, True]
    forget_note(out)
    found, note = made("found")
    assert "bright: float16 does not hold all values of 2 units; their medians are found in tf32" in caplog.text
    assert found["median"].tolist() == noted["median"].tolist()
    assert (found["best"] != noted["best"]).any(), "climbed in float16, which held them"
    assert not any(where.endswith("tf32") for where in note["made_on"])


@pytest.mark.parametrize("lacking", ["values", "gradients"])
def test_images_that_float16_does_not_hold_are_made_in_tf32(bright, monkeypatch, caplog, lacking):
    study, usual, ran = bright("float16", True), making.make_images, []
    study.run_activations()
    study.params(
        activations__precision="float16",
        visualisations__units=["net/middle/0"],
        visualisations__n_images=2,
        visualisations__n_sets=1,
        visualisations__steps=2,
    )

    def make_images(target, *rest):
        ran.append(target.precision)
        if target.precision != "float16":
            return usual(target, *rest)
        if lacking == "values":
            raise making.NotFinite("the value inf for a picture made for it")
        return dataclasses.replace(usual(target, *rest), status=UNREACHABLE)

    monkeypatch.setattr(making, "make_images", make_images)
    flags = study._flags("params.yaml", "images", "code", "models", "activations")
    visualisations.main([*flags, "--out", str(study.folder / "made")])
    assert ran == ["float16", "tf32"] * 2
    assert (
        "net/middle/0 max of seed set 0: float16 does not hold all its values or gradients; its images are made in tf32"
        in (caplog.text)
    )
    assert UNREACHABLE not in read_parquet(study.folder / "made" / "units.parquet")["status"].tolist()
    assert read_json(study.folder / "made" / NOTE)["made_on"][0].endswith(" tf32")
