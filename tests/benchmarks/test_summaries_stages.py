"""The made-up study of many units: what its parts must equal, and that a wrong table stops the benchmark."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from benchmarks import made_study, summaries_stages
from interpretability.schema import KEY
from stages import calibration, ceiling, human, mis
from study.params.whole import load_params
from tests.helpers import tiny_study
from tests.helpers.rules import ROOT

UNITS, NETWORKS = 3000, 4
NOTES = {"activations": ("clusters.csv", "left_out.csv", "run.json"), "tasks": ("constant_units.csv", "summary.json")}


@pytest.fixture
def embedded(tmp_path):
    """data/ of a tiny study with answers of simulated people, as the embedded study's stages leave it."""
    data = tmp_path / "embedded/data"
    tiny_study.write_study(data)
    tiny_study.write_params(data.parent / "params.yaml", ROOT)
    for stage, files in NOTES.items():
        (data / "notes" / stage).mkdir(parents=True)
        for name in files:
            (data / stage / name).rename(data / "notes" / stage / name)
    (data / "tasks/summary.json").symlink_to(data / "notes/tasks/summary.json")
    (data / "simulation").rename(data / "crowd_simulation")

    def call(main, out, **others):
        words = {"params": data.parent / "params.yaml", **others, "out": data / out}
        main([str(word) for name, place in words.items() for word in (f"--{name}", place)])

    roster = data / "models/roster.csv"
    of_people = {"external": data.parent, "names": data.parent}
    call(human.main, "human", tasks=data / "tasks", images=data / "images", roster=roster, **of_people)
    call(calibration.main, "calibration", scores=data / "scores", human=data / "human")
    call(mis.main, "mis", scores=data / "scores", calibration=data / "calibration")
    call(ceiling.main, "ceiling", human=data / "human", mis=data / "mis")
    return data


def test_a_scored_study_is_checked_against_plain_scores(tmp_path, embedded, monkeypatch):
    monkeypatch.setattr(made_study, "LIKE", "oracle")
    root = tmp_path / "study"
    made_study.write_study(root, embedded, UNITS, NETWORKS, ROOT / "studies/imagenet.yaml")
    assert load_params(root / "params.yaml").scores.backends == (made_study.BACKEND,)
    mis.main(summaries_stages.command_of("mis", root))
    chosen = summaries_stages.sample(UNITS, NETWORKS)
    assert len(chosen) == summaries_stages.SAMPLED
    summaries_stages.check_mis(root, chosen)
    path = root / "data/mis/units.parquet"
    table = pq.read_table(path)
    assert not table.select(KEY).to_pandas().duplicated().any()
    people = pd.read_parquet(root / "data/human/units.parquet")
    assert len(people.merge(table.select(KEY).to_pandas(), on=KEY)) == len(people) > 0
    wrong = table["mis"].to_numpy().copy()
    wrong[0] += 1e-3
    pq.write_table(table.set_column(table.column_names.index("mis"), "mis", pa.array(wrong)), path)
    with pytest.raises(AssertionError):
        summaries_stages.check_mis(root, chosen)


def test_tasks_stand_where_their_units_do(tmp_path):
    (tmp_path / "activations").mkdir()
    network = made_study.Network("net", 400)
    rows = np.array([3, 4, 5, 390])
    made_study.write_tasks(tmp_path, network, rows)
    tasks = np.load(tmp_path / "tasks/net.npy", mmap_mode="r")
    assert (tasks[3] == tasks[4]).all()  # twins
    assert (tasks[4] != tasks[5]).any()
    extremes = load_file(tmp_path / "activations/net.safetensors")
    for place, side in ((-2, "top"), (-1, "bottom")):
        found = extremes[f"{side}_images"][rows, : made_study.N_TASKS]
        np.testing.assert_array_equal(found, tasks[rows][..., place])


def test_networks_are_uneven_and_together_as_many_units_as_asked_for():
    sizes = made_study.sizes(70_000_000, 835)
    assert sizes.sum() == pytest.approx(70_000_000, rel=1e-4)
    assert sizes.max() > 5 * sizes.mean()
