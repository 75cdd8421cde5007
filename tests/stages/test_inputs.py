"""A study of files outside the repository: DVC sees every path that a stage opens, or the stage `inputs` describes it."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from tests.helpers.copied_study import Study, changed
from tests.helpers.shown_page import EMPTY
from tools.dependencies import chains

ROSTER = "data/external/models/the lab's roster.csv"
SMALL = {
    "models": {"roster": ROSTER},
    "tasks": {"n_tasks": 2, "n_explanations": 2, "one_sided": []},
    "activations": {"n_extremes": 6, "batch_size": 8},
    "label_free": {"models": []},
    "scores": {"backends": ["encoder", "pixel"], "encoder": {"model": "plain", "layer": "1"}},
    "sensitivity": {"n_tasks": [2], "n_explanations": [2], "models": ["plain"], "n_units": 4, "map_models": ["plain"]},
    "stats": {"n_bootstrap": 100},
    "report": {"n_exemplars": 1},
}
CODE = """
from parts import middle
from torch import nn


def make():
    return nn.Sequential(nn.Conv2d(3, 4, 3), middle(), nn.Conv2d(6, 4, 3))
"""
PARTS = "from torch import nn\n\nSCALE = 1\n\n\ndef middle():\n    return nn.Conv2d(4, 6, 3)\n"
VIEW = '{""crop"": 32, ""resize"": 32, ""mean"": [0.5, 0.5, 0.5], ""std"": [0.25, 0.25, 0.25]}'
# notes the files that Python opens and the folders that it lists, in every process of a stage
AUDIT = """
import os, sys
stage, log = os.environ.get("DVC_STAGE"), os.environ.get("OPENED")
if stage and log:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    def note(event, args):
        if event == "open" and isinstance(args[0], (str, bytes)) and not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            path = args[0]
        elif event in ("os.listdir", "os.scandir") and isinstance(args[0], (str, bytes)):
            path = args[0]
        else:
            return
        path = os.path.abspath(os.fsdecode(path))
        os.write(file, (stage.partition("@")[0] + "\\t" + path + "\\n").encode("utf-8", "replace"))
    sys.addaudithook(note)
"""


class Outside(Study):
    """A study whose images, weights and directions lie in other folders; `opened` names what each stage opened."""

    def __init__(self, folder):
        super().__init__(folder, tiny=False)
        self.outside = folder.parent
        yaml = YAML()
        params = yaml.load(folder / "studies/custom.yaml")
        changed(params, SMALL)
        yaml.dump(params, folder / "params.yaml")
        rng = np.random.default_rng(0)
        for name, n in (("A", 20), ("B", 24)):
            for i in range(n):
                self.picture(f"{name}/{'xy'[i % 2]}/{i:02d}.png", rng)
        weights = self.outside / "weights"
        weights.mkdir()
        self.directions(1.0)
        for name, text in (("made", CODE), ("parts", PARTS)):
            (folder / f"data/external/code/{name}.py").write_text(text)
        (folder / ROSTER).write_text(
            "name,constructor,weights,sha256,preprocessing,role,directions\n"
            f'plain,made:make,{self.weights()},"{VIEW}",study,\n'
            f'turned,made:make,none,,"{VIEW}",study,1=d.npy\n'
        )
        (self.outside / "site").mkdir()
        (self.outside / "site" / "sitecustomize.py").write_text(AUDIT)
        self.images = "A"
        self.draw_nothing()

    def draw_nothing(self):
        """Figures are most of the work of a page, and drawing one opens no file of a study."""
        place = self.folder / "study/report/page/drawing.py"
        text, drawn = place.read_text(), "self._drawn(drawings[name], *shown)"
        assert drawn in text
        told = f"Drawn({EMPTY!r}, b'%PDF', {EMPTY!r}, drawings[name].alt(shown[0], self.study))"
        place.write_text(text.replace(drawn, told))

    def picture(self, name, rng):
        path = self.outside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)

    def directions(self, factor):
        np.save(self.outside / "weights" / "d.npy", factor * np.eye(6, 2, dtype=np.float32)[::-1])

    def weights(self):
        import torch

        from interpretability.files import sha256_file

        shapes = {"0": (4, 3, 3, 3), "1": (6, 4, 3, 3), "2": (4, 6, 3, 3)}
        rng = np.random.default_rng(1)
        state = {
            f"{name}.weight": torch.from_numpy(rng.normal(size=s).astype(np.float32)) for name, s in shapes.items()
        }
        state |= {f"{name}.bias": torch.zeros(s[0]) for name, s in shapes.items()}
        path = self.outside / "weights" / "w.pth"
        torch.save(state, path)
        return f"{path.name},{sha256_file(path)}"

    def environment(self, workers):
        return {
            **super().environment(workers),
            "MIS_IMAGES": str(self.outside / self.images),
            "MIS_WEIGHTS": str(self.outside / "weights"),
            "PYTHONPATH": str(self.outside / "site"),
            "OPENED": str(self.outside / "opened"),
            "PYTHONDONTWRITEBYTECODE": "1",  # so that every stage opens the code that it runs
            "MIS_STORE": str(self.outside / "store"),
        }

    def ran(self, *words):
        """Stages that ran."""
        done = self.repro(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]

    def out(self, name):
        return (self.folder / "data" / name).read_bytes()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = Outside(tmp_path_factory.mktemp("outside") / "the study's copy")
    assert made.ran()[:3] == ["inputs", "images", "models"]
    return made


def opened(study):
    """Paths that each stage opened for reading, but for the environment, the system, and the work store."""
    import sys

    system = (
        "/usr",
        "/etc",
        "/proc",
        "/sys",
        "/dev",
        "/lib",
        "/bin",
        "/opt",
        "/var",
        f"{tempfile.gettempdir()}/tmp",  # what libraries make for themselves
        sys.prefix,
        sys.base_prefix,
    )
    homes = (str(Path.home() / ".cache"), str(Path.home() / ".config"), str(study.outside / "store"))
    lines = {line for line in (study.outside / "opened").read_text(errors="replace").splitlines() if "\t" in line}
    for line in sorted(lines):
        stage, _, path = line.partition("\t")
        if path.startswith((*system, *homes, str(study.outside / "site"))) or path == str(study.outside / "opened"):
            continue
        yield stage, Path(path)


def declared(study):
    """What DVC is told that each stage reads or writes, and its code. The whole file of parameters is only checked, by code that
    can refuse a study and change nothing.
    """
    content = YAML(typ="safe").load((study.folder / "dvc.yaml").read_text())["stages"]
    known = {}
    for name, stage in content.items():
        listed = [entry for part in ("deps", "outs", "metrics") for entry in stage.get(part, [])]
        paths = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in listed]
        known[name] = {path.replace("${models.roster}", ROSTER).split("${item.backend}")[0] for path in paths}
        known[name] |= {"params.yaml", *chains("study/params/whole.py"), *chains(f"stages/{name}.py")}
    return known


# Who may open what lies outside: stages that depend on its description, and those behind them, which compare digests.
OUTSIDE = {"A": ("data/inputs/images.json", "data/images"), "weights": ("data/inputs/networks.json", "data/models")}


def test_dvc_sees_what_a_stage_opens(study):
    known, wrong, seen = declared(study), [], set()
    for stage, path in opened(study):
        place = next((name for name in OUTSIDE if path.is_relative_to(study.outside / name)), None)
        if place is not None:
            seen.add((stage, place))
            if stage != "inputs" and not set(OUTSIDE[place]) & known[stage]:
                wrong.append((stage, path))
        elif (
            stage != "inputs" and path.is_file() and "__pycache__" not in path.parts
        ):  # the importer looks through folders
            inside = path.relative_to(study.folder).as_posix() if path.is_relative_to(study.folder) else str(path)
            if not any(inside.startswith(f"{one.rstrip('/')}/") or inside == one for one in known[stage]):
                wrong.append((stage, inside))
    assert not wrong
    # the audit itself works: these were seen
    assert {
        ("inputs", "A"),
        ("images", "A"),
        ("activations", "A"),
        ("inputs", "weights"),
        ("models", "weights"),
    } <= seen


def test_nothing_but_the_look_at_inputs_runs_again(study):
    assert study.ran() == ["inputs"]


def test_images_elsewhere_or_added_are_found(study):
    before = study.out("images/manifest.parquet")
    study.images = "B"
    assert study.ran("images") == ["inputs", "images"]
    assert json.loads(study.out("images/summary.json"))["n"] == 24
    study.picture("B/x/new.png", np.random.default_rng(2))
    assert study.ran("images") == ["inputs", "images"]
    assert json.loads(study.out("images/summary.json"))["n"] == 25
    study.images = "A"
    assert set(study.ran()) <= {"inputs", "images"}, "nothing after the pictures of before"
    assert study.out("images/manifest.parquet") == before


def test_another_matrix_of_directions_or_second_file_of_own_code_gives_other_extremes(study):
    def extremes():
        return {name: study.out(f"activations/{name}.safetensors") for name in ("plain", "turned")}

    place, before = study.folder / "data/external/code/parts.py", extremes()
    study.directions(-1.0)
    assert "activations" in study.ran("activations")
    turned = extremes()
    assert turned["plain"] == before["plain"]
    assert turned["turned"] != before["turned"]
    place.write_text(PARTS.replace("nn.Conv2d(4, 6, 3)", "nn.Conv2d(4, 6, 3, dilation=2)"))
    assert "activations" in study.ran("activations")
    assert extremes()["turned"] not in (turned["turned"], before["turned"])
    assert extremes()["plain"] != before["plain"]
    place.write_text(PARTS)
    study.directions(1.0)
    study.ran("activations")
    assert extremes() == before


def test_a_key_that_nobody_knows_is_told_at_once(study):
    path = study.folder / "params.yaml"
    kept = path.read_text()
    path.write_text(f"{kept}\nextremes: 3\n")
    done = study.repro()
    path.write_text(kept)
    assert done.returncode != 0
    assert "extremes is not a known key" in done.stdout + done.stderr


def test_a_missing_folder_of_images_is_told_before_anything_runs(study):
    study.images = "nowhere"
    done = study.repro()
    study.images = "A"
    assert done.returncode != 0
    assert "MIS_IMAGES" in done.stderr
    assert "'images'" not in done.stdout


def test_weights_of_another_file_are_refused_by_the_next_run(study):
    path = study.outside / "weights" / "w.pth"
    kept = shutil.copy(path, study.outside / "kept.pth")
    path.write_bytes(b"other")
    done = study.repro("models")
    os.replace(kept, path)
    assert done.returncode != 0
    assert "sha256" in done.stderr
    assert study.ran("models")[0] == "inputs"
