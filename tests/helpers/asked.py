"""A small study that people can be asked about, and the folder of questions exported from it."""

import json

import numpy as np
import pandas as pd

from interpretability.schema import KEY
from study.files.tables import write_csv, write_json, write_parquet
from tests.helpers import tiny_study
from tests.helpers.rules import ROOT
from tools import psychophysics

SMALL = ["--units", "3", "--random", "2", "--responses", "6", "--trials", "5", "--models", "net"]
FEW = ["--practice", "5", "--catch", "3"]
ANNOTATED = [("net", "head", unit, "natural") for unit in range(4)]


def make_study(folder, hard=(), clusters=()):
    """A study up to its scores, calibrated by hand, with pictures of noise 10 by 8 and four annotated units.

    `clusters`: (model, layer, first layer of its cluster) of layers that repeat others.
    """
    folder.mkdir(exist_ok=True)
    tiny_study.write_params(folder / "params.yaml", ROOT)
    tiny_study.write_study(folder / "data", hard)
    pixels = np.random.default_rng(0).integers(0, 256, (tiny_study.N_IMAGES, 8, 10, 3), dtype=np.uint8)
    np.save(folder / "data/images/pixels.npy", pixels)
    table = pd.DataFrame(list(clusters), columns=["model", "layer", "cluster"])
    write_csv(folder / "data/notes/activations/clusters.csv", table)
    write_json(folder / "data/calibration/slope.json", {"oracle": {"slope": 5.0, "status": "calibrated"}})
    write_parquet(folder / "data/human/units.parquet", pd.DataFrame(ANNOTATED, columns=KEY))
    write_json(folder / "provenance.json", {"params": {"seed": 0}, "packages": {"numpy": "2"}})
    return folder


def export(study, out, *options):
    flags = ["--params", study / "params.yaml", "--data", study / "data", "--provenance", study / "provenance.json"]
    psychophysics.main(["export", "--out", str(out), *map(str, flags), *SMALL, *FEW, *options])
    return out


def rows(folder, name):
    return json.loads((folder / f"{name}.json").read_text())[name]


def manifest(folder):
    return json.loads((folder / "study.json").read_text())


def row_of(folder):
    """File of a picture -> row of the manifest, as the researcher's table says."""
    return pd.read_csv(folder / "images.csv").set_index("file")["image"].to_dict()


def shown(question):
    """All pictures of a question."""
    return [*question["left"], *question["right"], question["top"], question["bottom"]]
