"""The scores stage with a similarity that runs a network for every picture: killed, resumed, with other memory.

Twice: with so many pictures that tasks are solved block by block, and with so few that all pairs are compared first.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import save_file

from interpretability.errors import InputError
from interpretability.schema import KEY
from study.files.tables import read_json, read_parquet, write_csv, write_json, write_parquet
from study.networks.roster import RESOLVED, read_roster
from study.solving import study_margins
from tests.helpers import random_weights as given
from tests.helpers.rules import ROOT
from tests.helpers.tiny_study import write_params

UNITS, N_TASKS, K = 40, 4, 2  # five blocks of eight units
BLOCKS, PAIRS = 240, 150  # pictures


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return made(tmp_path_factory.mktemp("scores"), BLOCKS)


@pytest.fixture(scope="module")
def small_study(tmp_path_factory):
    return made(tmp_path_factory.mktemp("pairs"), PAIRS)


def made(folder, n_images):
    pixels = given.pictures(32, n_images)
    digests = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pixels]
    (folder / "images").mkdir()
    np.save(folder / "images/pixels.npy", pixels)
    write_parquet(folder / "images/manifest.parquet", pd.DataFrame({"image": np.arange(n_images), "digest": digests}))
    write_json(folder / "images/summary.json", {"n": n_images})
    roster = pd.DataFrame([{"name": "net", "constructor": "resnet18", "role": "study"}]).reindex(columns=RESOLVED)
    write_csv(folder / "models/roster.csv", roster.assign(weights="none"))
    write_csv(folder / "models/failures.csv", pd.DataFrame(columns=["model", "stage", "reason"]))
    rng = np.random.default_rng(0)
    tasks = np.stack([rng.permutation(n_images)[: N_TASKS * 2 * (K + 1)].reshape(N_TASKS, -1) for _ in range(UNITS)])
    (folder / "tasks").mkdir()
    np.save(folder / "tasks/net.npy", tasks.astype(np.int32))
    facts = {
        "layer_type": "Conv",
        "layer_index": 1,
        "depth": 0.5,
        "width": UNITS,
        "tie_share_pos": 0.0,
        "tie_share_neg": 0.0,
    }
    rows = [dict(zip(KEY, ("net", "a", unit, "natural"), strict=True)) | facts for unit in range(UNITS)]
    write_parquet(folder / "tasks/net.parquet", pd.DataFrame(rows))
    images = hashlib.sha256("".join(digests).encode()).hexdigest()
    write_json(folder / "tasks/summary.json", {"images": images, "n_explanations": K})
    save_file(given.trunk("squeezenet1_1"), folder / "squeezenet1_1_torchvision.safetensors")
    write_params(folder / "params.yaml", ROOT, scores__backends=["lpips-squeeze"], scores__feature_size=32)
    return folder


def start(study, name, **environment):
    flags = {name: study / name for name in ("tasks", "images", "models")} | {
        "params": study / "params.yaml",
        "code": study,
        "out": study / f"{name}.parquet",
        "cost": study / f"{name}.json",
    }
    command = [sys.executable, "-m", "stages.scores", "--backend", "lpips-squeeze"]
    command += [f"--{flag}={path}" for flag, path in flags.items()]
    fixed = {
        "MIS_STORE": str(study / f"{name}-store"),
        "MIS_WEIGHTS": str(study),
        "MIS_DEVICE": "cpu",
        "MIS_WORKERS": "1",
    }
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **fixed, **environment}, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    _, text = process.communicate(timeout=300)
    assert process.returncode == 0, text
    return text


def written(folder, name):
    return [(folder / f"{name}.{suffix}").read_bytes() for suffix in ("parquet", "json")]


def stored(study, name):
    return sorted((study / f"{name}-store").rglob("*.safetensors"))


@pytest.fixture(scope="module")
def whole(study):
    finish(start(study, "whole"))
    return written(study, "whole")


def test_margins_are_those_of_the_similarity(study, whole):
    pixels = np.load(study / "images/pixels.npy")
    backend = given.opened("lpips-squeeze", pixels[:BLOCKS], size=32, whole=False)
    expected = backend.margins(np.load(study / "tasks/net.npy"), K)
    table = read_parquet(study / "whole.parquet")
    assert table["unit"].tolist() == list(range(UNITS))
    np.testing.assert_array_equal(np.stack(table["margins"]), expected)


def test_cost_is_what_one_pass_a_block_takes(study, whole):
    # 40 units of 4 tasks with 2 x 2K pairs; a block of 8 units with 24 of 240 pictures each sees most of them
    cost = read_json(study / "whole.json")
    assert cost["n_pairs"] == UNITS * N_TASKS * 4 * K
    assert 5 * 120 < cost["n_forwards"] <= 5 * BLOCKS


def test_killed_and_resumed_with_other_memory_and_workers_gives_the_same_bytes(study, whole):
    process = start(study, "killed", MIS_FEATURE_CACHE_GB="0")
    deadline = time.monotonic() + 240
    while len(stored(study, "killed")) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    kept = {path: path.stat().st_mtime_ns for path in stored(study, "killed")}
    assert kept
    assert len(kept) < 5
    finish(start(study, "killed", MIS_FEATURE_CACHE_GB="0.01", MIS_WORKERS="2"))
    assert written(study, "killed") == whole
    again = {path: path.stat().st_mtime_ns for path in stored(study, "killed")}
    complete = [path for path in kept if path.with_name(path.name + ".json").is_file()]
    assert sum(again[path] == kept[path] for path in complete) >= len(kept) - 1, (
        "finished blocks are not computed again"
    )


def test_pairs_killed_and_resumed_with_other_memory_and_workers_give_the_same_bytes(study, small_study):
    from interpretability.similarity import features

    assert features.pairs_pay(PAIRS, UNITS * N_TASKS)
    assert not features.pairs_pay(BLOCKS, UNITS * N_TASKS)
    finish(start(small_study, "whole"))
    process = start(small_study, "killed", MIS_FEATURE_CACHE_GB="0")

    def stripes():
        return sorted((small_study / "killed-store").rglob("*.npy"))

    deadline = time.monotonic() + 240
    while not stripes() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert 1 <= len(stripes()) < 4  # three stripes of one block each, and their table
    finish(start(small_study, "killed", MIS_FEATURE_CACHE_GB="0", MIS_WORKERS="2"))
    assert written(small_study, "killed") == written(small_study, "whole")
    pixels = np.load(small_study / "images/pixels.npy")
    backend = given.opened("lpips-squeeze", pixels[:PAIRS], size=32, whole=False)
    expected = backend.margins(np.load(small_study / "tasks/net.npy"), K)
    found = np.stack(read_parquet(small_study / "whole.parquet")["margins"])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert read_json(small_study / "whole.json")["n_forwards"] <= PAIRS


def test_a_bad_memory_bound_is_refused(study):
    process = start(study, "bad", MIS_FEATURE_CACHE_GB="lots")
    _, text = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "MIS_FEATURE_CACHE_GB" in text
    assert "Traceback" not in text


def test_offline_and_missing_weights_are_one_message(study, tmp_path):
    process = start(study, "missing", MIS_WEIGHTS=str(tmp_path), https_proxy="http://127.0.0.1:1")
    _, text = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "squeezenet1_1-b8a52dc0.pth" in text
    assert "download.pytorch.org" in text
    assert str(tmp_path) in text
    assert "Traceback" not in text


def test_cost_file_is_plain_json(study, whole):
    assert set(json.loads((study / "whole.json").read_text())) == {"n_forwards", "n_pairs"}


def test_pairs_are_compared_for_the_networks_that_are_named(tmp_path):
    rows = [
        ("resnet", "resnet50", ""),
        ("resnet-step0", "resnet50", ""),
        ("vit", "vit_tiny", ""),
        ("planted", "control:hash", ""),
        ("vit-permuted", "control:permuted", '{"of": "vit"}'),
        ("resnet-permuted", "control:permuted", '{"of": "resnet"}'),
    ]
    columns = {name: [""] * len(rows) for name in RESOLVED}
    columns |= dict(zip(("name", "constructor", "kwargs"), zip(*rows, strict=True), strict=True))
    columns |= {"role": ["study"] * len(rows), "weights": ["none"] * len(rows)}
    write_csv(tmp_path / "roster.csv", pd.DataFrame(columns))
    write_csv(tmp_path / "failures.csv", pd.DataFrame({"model": ["007"], "stage": ["models"], "reason": ["none"]}))
    assert study_margins.compared_networks(tmp_path, ["vit", "007"]) == ["vit", "planted", "vit-permuted"]
    assert study_margins.compared_networks(tmp_path, ["resnet*"]) == [
        "resnet",
        "resnet-step0",
        "planted",
        "resnet-permuted",
    ]
    with pytest.raises(
        InputError, match=r"scores.feature_models names 'vgg', which is no network of the roster.*resnet, "
    ):
        study_margins.compared_networks(tmp_path, ["resnet", "vgg"])


def test_naming_only_networks_that_failed_is_told(study):
    folder = study / "failed"
    shutil.copytree(study, folder, ignore=shutil.ignore_patterns("*-store", "failed", "two"))
    write_csv(
        folder / "models/failures.csv", pd.DataFrame({"model": ["gone"], "stage": ["models"], "reason": ["none"]})
    )
    write_params(
        folder / "params.yaml",
        ROOT,
        scores__backends=["lpips-squeeze"],
        scores__feature_size=32,
        scores__feature_models=["gone"],
    )
    process = start(folder, "none")
    text = process.communicate(timeout=300)[1]
    assert process.returncode == 1
    assert (
        "no network has tasks for backend lpips-squeeze: scores.feature_models names only networks that failed" in text
    )
    assert "Traceback" not in text


def test_units_of_other_networks_are_left_out(study, whole):
    """A second network that shares the tasks of the first; only one of them is named."""
    folder = study / "two"
    shutil.copytree(study, folder, ignore=shutil.ignore_patterns("*-store", "two", "*.parquet.part"))
    for suffix in ("npy", "parquet"):
        shutil.copy(folder / f"tasks/net.{suffix}", folder / f"tasks/other.{suffix}")
    roster = read_roster(folder / "models/roster.csv")
    write_csv(folder / "models/roster.csv", pd.concat([roster, roster.assign(name="other")]))
    write_params(
        folder / "params.yaml",
        ROOT,
        scores__backends=["lpips-squeeze"],
        scores__feature_size=32,
        scores__feature_models=["ne?"],
    )
    text = finish(start(folder, "named"))
    assert "scores.feature_models: 1 of 2 networks are compared" in text
    assert written(folder, "named") == whole
