"""The README's example of a first score, run line by line in a copy of the repository.

Replaced are its two downloads and nothing else: the checkpoint is one with random weights, and the similarity that
studies/custom.yaml names is `pixel`. The folder of pictures holds as many as the tasks need at least.
"""

import json
import re
import subprocess

import pandas as pd
import pytest

from benchmarks import first_steps
from study.files.tables import read_parquet
from study.params.whole import load_params
from tests.helpers.copied_study import Study
from tests.helpers.rules import ROOT

README = ROOT / "README.md"
BEFORE = {"mis_mean": 0.9, "n_models": 4}


class Stranger(Study):
    """A clone whose last commit has the results of another study."""

    def __init__(self, folder):
        super().__init__(folder, tiny=False)
        for name, text in (
            ("results/metrics.json", json.dumps(BEFORE)),
            ("reports/figures/old.svg", "<svg/>"),
            ("dvc.lock", "schema: '2.0'\n"),
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        self.keep("another study")

    def keep(self, message):
        self.git("add", "-A")
        self.git("-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-qm", message)

    def run(self, *steps):
        done = first_steps.follow(self.folder, steps, self.environment(2))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """The copy after the example, what the example printed, and where the roster says that the checkpoint is."""
    place = tmp_path_factory.mktemp("stranger")
    study = Stranger(place / "clone")
    params = load_params(ROOT / "studies/custom.yaml")
    tasks = params.tasks
    first_steps.write_pictures(study.folder / params.images.root, 2 * tasks.n_tasks * (tasks.n_explanations + 1))
    first_steps.save_checkpoint(place / "checkpoint.pth")
    first_steps.use_similarity(study.folder, "pixel")
    steps, target = first_steps.without_download(first_steps.commands(README.read_text()), place / "checkpoint.pth")
    return study, study.run(*steps), target


def test_the_network_has_its_score_and_the_page_its_units(stranger):
    study, _, target = stranger
    [score] = pd.read_csv(study.folder / "results/tables/models.csv").to_dict("records")
    units = read_parquet(study.folder / "data/mis/units.parquet")
    assert score["backend"] == "pixel"
    assert score["mis_mean"] == pytest.approx(units["mis"].mean(), abs=1e-6)
    assert score["n_units"] == len(units) > 1000
    roster = pd.read_csv(study.folder / "data/models/roster.csv")
    assert roster["weights"].tolist() == [target.removeprefix("data/external/weights/")]
    assert roster["name"].tolist() == [score["model"]]
    page = (study.folder / "reports/report.html").read_text()
    data = json.loads(re.search(r'<script[^>]*id="unit-data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])
    assert score["model"] in data["models"]
    assert f"{len(units):,}" in page


def test_what_changed_is_said_and_the_commands_keep_it_and_go_back(stranger):
    study, printed, _ = stranger
    metrics = json.loads((study.folder / "results/metrics.json").read_text())
    assert re.search(rf"mis_mean\s+0\.9\s+->\s+{metrics['mis_mean']:.4g}\s", printed)
    assert re.search(r"n_models\s+4\s+->\s+1\s+-3\s", printed)
    keep, back = (re.search(rf"^To {what}: +(.*)$", printed, re.MULTILINE)[1] for what in ("keep it", "go back"))
    who = 'git config user.name test; git config user.email "test@example.org"'
    study.run(who, keep)
    scores = (study.folder / "data/mis/units.parquet").read_bytes()
    # what another run would leave
    for name in (
        "params.yaml",
        "dvc.lock",
        "results/metrics.json",
        "results/tables/new.csv",
        "reports/figures/new.svg",
    ):
        (study.folder / name).write_text("other")
    (study.folder / "data/mis/units.parquet").unlink()
    study.run(back)
    status = subprocess.run(["git", "status", "--short"], cwd=study.folder, capture_output=True, text=True, check=True)
    assert status.stdout == ""
    assert (study.folder / "data/mis/units.parquet").read_bytes() == scores


def test_the_row_of_the_roster_is_complete(stranger):
    """The digest that the command writes is that of the file."""
    from interpretability.files import sha256_file

    study, _, target = stranger
    [row] = pd.read_csv(study.folder / "data/external/models/custom.csv").to_dict("records")
    assert row["sha256"] == sha256_file(study.folder / target)
    assert (study.folder / "data/external/weights" / row["weights"]).samefile(study.folder / target)
