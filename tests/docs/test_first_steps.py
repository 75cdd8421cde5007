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
CUSTOM = "data/external/models/custom.csv"
REST = ("params.yaml", "dvc.lock", "results/metrics.json", "results/tables/new.csv", "reports/figures/new.svg")
BEFORE = {"mis_mean": 0.9, "n_models": 4}
OTHER = {"params": {"scores": {"backends": ["encoder"]}}, "digests": {"images": "of others"}}


class Stranger(Study):
    """A clone whose last commit has the results of another study."""

    def __init__(self, folder):
        super().__init__(folder, tiny=False)
        for name, text in (
            ("results/metrics.json", json.dumps(BEFORE)),
            ("results/provenance.json", json.dumps(OTHER)),
            ("reports/figures/old.svg", "<svg/>"),
            # of a study whose data are in no cache here, as in a fresh clone
            ("dvc.lock", (ROOT / "dvc.lock").read_text()),
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        self.keep("another study")

    def keep(self, message):
        self.git("add", "-A")
        self.git("-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-qm", message)

    def status(self):
        command = ["git", "status", "--short"]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True).stdout

    def run(self, *steps):
        done = first_steps.follow(self.folder, steps, self.environment(1))
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
    study.keep("pixel")
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
    assert "another study: encoder -> pixel, other pictures; levels of MIS do not compare" in printed
    assert not re.search(r"^ +mis_\w+ .*->", printed, re.MULTILINE)
    assert re.search(r"n_models\s+4\s+->\s+1\s+-3\s", printed)
    names = ("keep it", "go back", "keep both")
    keep, back, both = (re.search(rf"^To {what}: +(.*)$", printed, re.MULTILINE)[1] for what in names)
    study.run('git config user.name test; git config user.email "test@example.org"')
    first = content(study.folder)
    # in a fresh clone nothing of the committed study is in the cache, and its results are there again all the same
    study.run(both.replace("NAME", "first"), back)
    assert study.status() == ""
    assert json.loads((study.folder / "results/metrics.json").read_text()) == BEFORE
    assert (study.folder / CUSTOM).read_bytes() == (ROOT / CUSTOM).read_bytes()
    study.run("dvc exp apply first")
    assert content(study.folder) == first
    study.run(keep)
    assert study.status() == ""
    # what another run would leave
    for name in (CUSTOM, *REST):
        (study.folder / name).write_text("other")
    (study.folder / "data/mis/units.parquet").unlink()
    study.run(back)
    assert study.status() == ""
    assert content(study.folder) == first


def content(folder):
    """The bytes of all that a run leaves for git, and of the scores that it leaves for DVC."""
    places = [path for place in ("results", "reports/figures") for path in (folder / place).rglob("*")]
    files = [path for path in places if path.is_file()]
    files += [folder / name for name in ("params.yaml", "dvc.lock", CUSTOM, "data/mis/units.parquet")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_row_of_the_roster_is_complete(stranger):
    """The digest that the command writes is that of the file."""
    from interpretability.files import sha256_file

    study, _, target = stranger
    [row] = pd.read_csv(study.folder / "data/external/models/custom.csv").to_dict("records")
    assert row["sha256"] == sha256_file(study.folder / target)
    assert (study.folder / "data/external/weights" / row["weights"]).samefile(study.folder / target)
