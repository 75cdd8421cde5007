"""Made images in the stage `scores`: solved apart, so that the study's own images and margins stay what they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interpretability.schema import KEY, MADE, MIXED, NATURAL, SYNTHETIC
from interpretability.similarity import registry
from interpretability.similarity.backends.pixel import Pixel
from stages import scores
from study.files.store import WorkStore
from study.files.tables import read_json, read_parquet
from study.images.made import Pictures, open_made
from study.images.manifest import open_images
from study.networks.building import load_network
from study.networks.roster import read_roster, rows_of
from study.solving import margins
from tests.helpers.made_images import fabricate

K, N_IMAGES = 4, 60
UNITS = [("net", "norm", 3), ("net", "middle", 1)]
BACKENDS = ("encoder", "pixel", "null", "oracle")


@pytest.fixture(scope="module")
def study(tmp_path_factory, _scenes):
    made = type(_scenes)(tmp_path_factory.mktemp("made") / "study")
    made.folder.mkdir()
    (made.folder / "images").symlink_to(_scenes.folder / "images")
    made.params(
        tasks__conditions=[NATURAL, *MADE],
        visualisations__units=["net/*/*"],
        scores__backends=list(BACKENDS),
        scores__encoder__model="net",
        scores__encoder__layer="middle",
    )
    made.roster({"name": "net"})
    made.run_models()
    made.run_activations()
    fabricate(made.folder / "visualisations", made.folder / "images", UNITS, n_images=K)
    made.run_tasks()
    return made


def solve(study, backend, out, tasks="tasks", visualisations="visualisations"):
    flags = [f"--{name}={study.folder / name}" for name in ("images", "models")]
    flags += [
        f"--params={study.folder / 'params.yaml'}",
        f"--tasks={study.folder / tasks}",
        f"--code={study.folder / 'code'}",
    ]
    if visualisations:
        flags.append(f"--visualisations={study.folder / visualisations}")
    path = study.folder / f"{out}.parquet"
    scores.main([*flags, f"--backend={backend}", f"--out={path}", f"--cost={path.with_suffix('.json')}"])
    return read_parquet(path)


def similarity(study, backend):
    natural = open_images(study.folder / "images")
    images = Pictures(natural, open_made(study.folder / "visualisations", natural))
    if backend == "encoder":
        row = rows_of(read_roster(study.folder / "models/roster.csv"))[0]
        return registry.create(
            "encoder",
            images,
            network=load_network(row, study.folder / "models", study.folder / "code", 0),
            layer="middle",
        )
    options = {"digests": images.digests} if backend == "null" else {}
    return registry.create(backend, images, **options)


@pytest.mark.parametrize("backend", ["encoder", "pixel", "null"])
def test_margins_of_made_images_are_those_of_the_similarity(study, backend):
    table = solve(study, backend, f"whole-{backend}")
    units, tasks = read_parquet(study.folder / "tasks/net.parquet"), np.load(study.folder / "tasks/net.npy")
    pd.testing.assert_frame_equal(table[KEY], units[KEY])
    expected = similarity(study, backend).margins(tasks, K)
    np.testing.assert_allclose(np.stack(table["margins"]), expected, atol=1e-6)
    assert table["condition"].value_counts().loc[list(MADE)].tolist() == [2, 2]


def test_known_factors_have_nothing_to_say_of_made_images(study, caplog):
    table = solve(study, "oracle", "whole-oracle")
    assert set(table["condition"]) == {NATURAL}
    assert "made images have no factors, so 4 units have no scores under the conditions that show some" in caplog.text


def names_of(kind):
    stored = (WorkStore.open().folder / kind).rglob("*")
    return {path.name: path.stat().st_mtime_ns for path in stored if path.suffix in (".npy", ".safetensors")}


def test_other_made_images_change_no_embedding_and_no_margin_of_the_study(study):
    first = solve(study, "encoder", "first")
    embeddings, margins = names_of("embeddings"), names_of("margins")
    fabricate(study.folder / "others", study.folder / "images", UNITS, n_images=K, seed=1)
    second = solve(study, "encoder", "second", visualisations="others")
    made = first["condition"].isin(MADE).to_numpy()
    pd.testing.assert_frame_equal(first[~made], second[~made])
    different = [(a != b).any() for a, b in zip(first.loc[made, "margins"], second.loc[made, "margins"], strict=True)]
    assert all(different)
    again = names_of("embeddings"), names_of("margins")
    for before, after in zip((embeddings, margins), again, strict=True):
        assert before.items() <= after.items(), "what was there is not computed again"
    # chunk and table of the made images, and margins of the units that show them
    assert [len(after) - len(before) for before, after in zip((embeddings, margins), again, strict=True)] == [2, 1]


def test_tasks_with_made_images_do_not_decide_whether_all_pairs_are_compared(study, monkeypatch):
    """Else naming units could have the study's own tasks solved again another way."""
    asked = []
    monkeypatch.setattr(Pixel, "embeds", False)
    monkeypatch.setattr(margins.pairs, "pair_table", lambda *args: asked.append(args[3]))
    table = solve(study, "pixel", "pairs")
    natural = (table["condition"] == NATURAL).sum()
    assert natural < len(table)
    assert asked == [natural * len(table["margins"].iloc[0])]


def test_without_made_images_everything_is_the_same_bytes(study):
    """The tasks without those of made images give the same table, cost and stored work as with a folder of made images."""
    solve(study, "encoder", "whole")
    before = names_of("embeddings"), names_of("margins")
    folder = study.folder / "plain"
    folder.mkdir()
    units, tasks = read_parquet(study.folder / "tasks/net.parquet"), np.load(study.folder / "tasks/net.npy")
    natural = (units["condition"] == NATURAL).to_numpy()
    units[natural].to_parquet(folder / "net.parquet")
    np.save(folder / "net.npy", tasks[natural])
    (folder / "summary.json").write_bytes((study.folder / "tasks/summary.json").read_bytes())
    for out, visualisations in (("beside", "visualisations"), ("alone", None)):
        solve(study, "encoder", out, "plain", visualisations)
    assert (names_of("embeddings"), names_of("margins")) == before
    for suffix in ("parquet", "json"):
        assert (study.folder / f"alone.{suffix}").read_bytes() == (study.folder / f"beside.{suffix}").read_bytes()
    cost, whole = read_json(study.folder / "alone.json"), read_json(study.folder / "whole.json")
    assert whole["n_forwards"] == cost["n_forwards"] + 2 * len(UNITS) * 2 * K, "every made image of both sets, once"


def test_copies_of_a_made_image_do_not_make_a_natural_query_near(study):
    table = solve(study, "pixel", "near")
    made = table[table["condition"] == SYNTHETIC]
    assert made["near"].map(len).eq(0).all()
    natural = table[table["condition"] == NATURAL].set_index(["layer", "unit"])["near"].map(list)
    mixed = table[table["condition"] == MIXED].set_index(["layer", "unit"])["near"].map(list)
    assert all(set(near) <= set(natural[owner]) for owner, near in mixed.items())
