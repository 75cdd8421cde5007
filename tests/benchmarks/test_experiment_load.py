"""The load on the server of the experiment, with few people for a moment: it counts what happened. Nothing is timed."""

import asyncio

import pytest

from benchmarks import experiment_load
from benchmarks.experiment_folders import prepared
from benchmarks.experiment_kills import rows
from experiment.rehearsal.keys_of_folder import Keys
from experiment.rehearsal.process import ServerProcess
from experiment.study_folder import Folder

PEOPLE, PICTURES = 4, 20


@pytest.mark.parametrize("server", experiment_load.SERVERS)
@pytest.mark.parametrize("load", experiment_load.LOADS)
def test_all_that_a_load_counts_was_kept(tmp_path, monkeypatch, load, server):
    monkeypatch.setattr(experiment_load, "EVERY", 0.2)
    run = prepared(tmp_path, trials=experiment_load.LONG)
    folder = Folder.read(run / "questions")
    keys = Keys(folder, dict.fromkeys(folder.questions, 1.0))
    command, options = ("-m", "benchmarks.experiment_server"), experiment_load.SERVERS[server]
    with ServerProcess(run, tmp_path / "log", command=command, options=options) as process:
        found = asyncio.run(experiment_load.loaded(load, process, keys, PEOPLE, 0.5))
    assert (found["failures"], found["rows_missing"]) == (0, 0)
    assert found["answers"] >= 2 * PEOPLE
    assert (found["pictures_a_second"] > 0) == (load == "paced")
    known, doubled, integrity = rows(run / "answers.sqlite")
    main = {row for row in known if row[1] >= 15}  # practice took up to 15 trials before the load
    assert len(main) == found["answers"]
    assert (doubled, integrity) == (0, "ok")
