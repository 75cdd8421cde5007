"""What the library says about arguments that do not fit: the whole message of every case, in the caller's own names."""

# ruff: noqa: E501 - a message stays on one line, as it is shown

import functools
import pickle
import re

import numpy as np
import pandas as pd
import pytest
import torch

import interpretability as it
from interpretability.directions.readers import UnitReader
from interpretability.networks.taps import Tap
from interpretability.people.calibration import draw_split
from interpretability.schema import KEY
from interpretability.synthetic import observers
from study import command
from study.errors import StudyError, message_of
from study.workers.device import guarded

RNG = np.random.default_rng(0)
VALUES, ROWS = RNG.standard_normal((40, 3)).astype(np.float32), RNG.standard_normal((40, 5))
KEYS = np.arange(3, dtype=np.uint64)
PRESENCE = (np.arange(40)[:, None] % [3, 4] == 0).astype(float)
SMALL = {"n_tasks": 2, "n_explanations": 2}
MARGINS, HIS = RNG.standard_normal((6, 4)), np.linspace(0.5, 1, 6)
TASKS = np.array([[[0, 1, 2, 3, 4, 5]]])
UNITS = pd.DataFrame({"model": "net", "layer": "conv", "unit": range(3), "mis": [0.5, 0.6, 0.7]})
ANSWERS = pd.DataFrame(
    [("net", "conv", unit, "natural", task, "ann", 1) for unit in range(3) for task in range(4)],
    columns=[*KEY, "task", "participant", "correct"],
)
IMAGES = torch.rand(3, 3, 8, 8)
NETWORK = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3)).eval()
SHOWN = {"crop": 8, "resize": 8, "mean": [0.5] * 3, "std": [0.5] * 3}


class Shown:
    """So many equal images."""

    def __init__(self, n=20, pixels=None):
        self.n, self.each = n, np.zeros((8, 8, 3), np.uint8) if pixels is None else pixels

    def __len__(self):
        return self.n

    def pixels(self, row):
        return self.each


def with_value(array, value, *place):
    changed = np.array(array, dtype=np.float64)
    changed[place] = value
    return changed


def units(activations=VALUES, embeddings=ROWS, **changes):
    return it.score_units(activations, embeddings, **(SMALL | changes))


def texts(activations=VALUES, presence=None, names=("dog", "grass"), **changes):
    return it.score_texts(activations, PRESENCE if presence is None else presence, names, **changes)


def network(model=NETWORK, images=None, **changes):
    options = {"similarity": "pixel", "preprocessing": SHOWN, "drop_first_last": False} | SMALL | changes
    return it.score_network(model, images or Shown(), **options)


def visualise(model=NETWORK, layer="2", units=(0,), **changes):
    return it.visualise(model, layer, list(units), **({"preprocessing": SHOWN, "n_images": 2, "steps": 2} | changes))


def layers():
    return it.find_layers(NETWORK, IMAGES, drop_first_last=False)


@functools.cache
def ranked():
    return it.rank_images(VALUES, 6, KEYS)


def a(text):
    """What is said of an argument of another type than an array."""
    return f"{text} is of type str; it must be an array"


def soft_mis(values=None, rows=None, temperature=0.3, slope=6.25, shares=(0.1, 0.05)):
    values, rows = (torch.ones(40, 3) if each is None else each for each in (values, rows))
    return it.soft_mis(values, rows, temperature, slope, shares)


SIMILARITIES = ", ".join(it.similarity_names())
CASES = {
    # ---- the score with a gradient
    "an array for a tensor": (
        lambda: it.soft_mis(VALUES, torch.from_numpy(ROWS), 0.3, 6.25, (0.1, 0.05)),
        "activations is of type ndarray; it must be a torch tensor (images, units)",
    ),
    "whole numbers to be differentiated": (
        lambda: soft_mis(torch.ones(40, 3, dtype=torch.int64)),
        "activations holds values of type torch.int64; it must hold floating-point numbers",
    ),
    "maps for units": (
        lambda: it.decorrelation(torch.ones(40, 3, 2, 2)),
        "activations has shape (40, 3, 2, 2); it must be (images, units)",
    ),
    "no unit to train": (
        lambda: it.participation(torch.ones(40, 0)),
        "activations has shape (40, 0); none of (images, units) may be empty",
    ),
    "NaN in a batch": (
        lambda: soft_mis(torch.tensor(with_value(VALUES, np.nan, 7, 2))),
        "activations holds nan at [7, 2]; all values must be finite",
    ),
    "infinite embedding of a batch": (
        lambda: soft_mis(rows=torch.tensor(with_value(ROWS, np.inf, 1, 0))),
        "embeddings holds inf at [1, 0]; all values must be finite",
    ),
    "embeddings of another batch": (
        lambda: soft_mis(rows=torch.ones(39, 5)),
        "activations has 40 images and embeddings has 39; they must be of the same images",
    ),
    "embeddings elsewhere": (
        lambda: it.soft_mis(torch.ones(40, 3), torch.ones(40, 5, device="meta"), 0.3, 6.25, (0.1, 0.05)),
        "activations is on cpu and embeddings on meta; they must be on one device",
    ),
    "temperature of 0": (
        lambda: soft_mis(temperature=0),
        "temperature is 0; it must be a finite number above 0",
    ),
    "slope of 0": (lambda: soft_mis(slope=0), "slope is 0; it must be a finite number above 0"),
    "one share": (
        lambda: soft_mis(shares=0.1),
        "shares is 0.1; it must be two numbers, the shares of images that explain and that are asked about",
    ),
    "a share of 0": (
        lambda: soft_mis(shares=(0.1, 0)),
        "shares is 0; it must be a finite number above 0 and below 0.5",
    ),
    "sides that overlap": (
        lambda: soft_mis(shares=(0.4, 0.2)),
        "shares is (0.4, 0.2), together above 0.5; the two sides would overlap",
    ),
    "a batch of too few images": (
        lambda: soft_mis(shares=(0.045, 0.005)),
        "activations has 40 images, and shares lets a share of 0.045 explain a side: 1.8 images, but 2 are needed. Take batches of at "
        "least 45 images",
    ),
    "one unit beside none": (
        lambda: it.decorrelation(torch.ones(40, 1)),
        "activations has 1 unit; correlations need at least 2",
    ),
    "shares of a small study": (
        lambda: it.shares(20, 9, 399),
        "399 images are too few: n_tasks = 20 and n_explanations = 9 need at least 2 * 20 * 10 = 400. Add at least 1, or lower n_tasks "
        "to 19, or lower n_explanations to 8",
    ),
    "shares of half a task": (
        lambda: it.shares(0.5, 9, 4000),
        "n_tasks is 0.5; it must be a whole number of at least 1",
    ),
    # ---- texts
    "presence of other images": (
        lambda: texts(presence=PRESENCE[:39]),
        "activations has 40 images and presence has 39; they must be of the same images",
    ),
    "presence above 1": (
        lambda: texts(presence=with_value(PRESENCE, 1.5, 4, 1)),
        "presence holds 1.5 at [4, 1]; probabilities lie between 0 and 1",
    ),
    "too few names of texts": (lambda: texts(names=["dog"]), "texts holds 1 names for 2 texts"),
    "a name of a text that is a number": (
        lambda: texts(names=["dog", 7]),
        "texts is 7 of type int; it must be text",
    ),
    "activations that are not finite, beside texts": (
        lambda: texts(with_value(VALUES, np.nan, 3, 2)),
        "activations holds nan at [3, 2]; all values must be finite",
    ),
    "more top images than there are": (lambda: texts(top=41), "top is 41; it must be at most 40"),
    "confidence of 1": (
        lambda: texts(confidence=1),
        "confidence is 1; it must be a finite number above 0 and below 1",
    ),
    # ---- arrays
    "text for activations": (lambda: units("activations.npy"), a("activations") + " (images, units)"),
    "none for embeddings": (
        lambda: units(embeddings=None),
        "embeddings is of type NoneType; it must be an array (images, dimensions)",
    ),
    "one axis": (lambda: units(VALUES[:, 0]), "activations has shape (40,); it must be (images, units)"),
    "three axes": (
        lambda: units(embeddings=ROWS[None]),
        "embeddings has shape (1, 40, 5); it must be (images, dimensions)",
    ),
    "no image": (lambda: units(VALUES[:0]), "activations has shape (0, 3); none of (images, units) may be empty"),
    "no unit": (lambda: units(VALUES[:, :0]), "activations has shape (40, 0); none of (images, units) may be empty"),
    "no dimension": (
        lambda: units(embeddings=ROWS[:, :0]),
        "embeddings has shape (40, 0); none of (images, dimensions) may be empty",
    ),
    "complex values": (
        lambda: units(VALUES + 1j),
        "activations holds values of type complex64; it must hold real numbers",
    ),
    "array of text": (
        lambda: units(np.full((40, 3), "x")),
        "activations holds values of type <U1; it must hold real numbers",
    ),
    "array of objects": (
        lambda: units(np.full((40, 3), None)),
        "activations holds values of type object; it must hold real numbers",
    ),
    "ragged lists": (
        lambda: units([[1.0], [1.0, 2.0]]),
        re.compile(r"activations is no array \(.*\); it must be an array \(images, units\)", re.S),
    ),
    "NaN activation": (
        lambda: units(with_value(VALUES, np.nan, 7, 2)),
        "activations holds nan at [7, 2]; all values must be finite",
    ),
    "infinite activation": (
        lambda: units(with_value(VALUES, -np.inf, 0, 0)),
        "activations holds -inf at [0, 0]; all values must be finite",
    ),
    "beyond float32": (
        lambda: units(with_value(VALUES, 1e300, 3, 1)),
        "activations holds inf at [3, 1]; all values must be finite",
    ),
    "NaN embedding": (
        lambda: units(embeddings=with_value(ROWS, np.nan, 39, 4)),
        "embeddings holds nan at [39, 4]; all values must be finite",
    ),
    "infinite embedding": (
        lambda: units(embeddings=with_value(ROWS, np.inf, 1, 1)),
        "embeddings holds inf at [1, 1]; all values must be finite",
    ),
    "other images": (
        lambda: units(embeddings=ROWS[:30]),
        "activations has 40 images and embeddings has 30; they must be of the same images",
    ),
    # ---- sizes, slopes, names
    "too few images": (
        lambda: units(VALUES[:11], ROWS[:11]),
        "11 images are too few: n_tasks = 2 and n_explanations = 2 need at least 2 * 2 * 3 = 12. Add at least 1, "
        "or lower n_explanations to 1",
    ),
    "one task": (lambda: units(n_tasks=1), "n_tasks is 1; it must be a whole number of at least 2"),
    "no explanation": (lambda: units(n_explanations=0), "n_explanations is 0; it must be a whole number of at least 1"),
    "half a task": (lambda: units(n_tasks=2.5), "n_tasks is 2.5; it must be a whole number of at least 2"),
    "true for a count": (
        lambda: units(n_explanations=True),
        "n_explanations is True; it must be a whole number of at least 1",
    ),
    "negative slope": (lambda: units(slope=-6.25), "slope is -6.25; it must be a finite number above 0"),
    "no slope": (lambda: units(slope=0), "slope is 0; it must be a finite number above 0"),
    "slope NaN": (lambda: units(slope=float("nan")), "slope is nan; it must be a finite number above 0"),
    "slope as text": (lambda: units(slope="6.25"), "slope is '6.25'; it must be a finite number above 0"),
    "negative seed": (lambda: units(seed=-1), "seed is -1; it must be a whole number of at least 0"),
    "number for a layer": (lambda: units(layer=4), "layer is 4 of type int; it must be text"),
    "none for a model": (lambda: units(model=None), "model is None of type NoneType; it must be text"),
    "no thread": (lambda: units(threads=0), "threads is 0; it must be a whole number of at least 1"),
    # ---- ranking and tasks
    "more than all": (lambda: it.rank_images(VALUES, 41, KEYS), "n is 41, but activations has only 40 images"),
    "none ranked": (lambda: it.rank_images(VALUES, 0, KEYS), "n is 0; it must be a whole number of at least 1"),
    "keys of others": (
        lambda: it.rank_images(VALUES, 5, KEYS[:2]),
        "keys has shape (2,) and values of type uint64; it must be (3,) uint64, a key a unit",
    ),
    "keys as floats": (
        lambda: it.rank_images(VALUES, 5, KEYS / 2),
        "keys has shape (3,) and values of type float64; it must be (3,) uint64, a key a unit",
    ),
    "NaN in a ranking": (
        lambda: it.rank_images(with_value(VALUES, np.nan, 4, 1), 5, KEYS),
        "activations holds nan at [4, 1]; all values must be finite",
    ),
    "too few ranked": (
        lambda: it.build_tasks(ranked(), KEYS),
        "ranked has 6 images a side; n_tasks * (n_explanations + 1) = 200 are needed",
    ),
    "array for a ranking": (
        lambda: it.build_tasks(VALUES, KEYS, 2, 2),
        "ranked is of type ndarray; it must be what rank_images gives",
    ),
    "keys of other tasks": (
        lambda: it.build_tasks(ranked(), KEYS[:1], 2, 2),
        "keys has shape (1,) and values of type uint64; it must be (3,) uint64, a key a unit",
    ),
    "no tasks": (lambda: it.build_tasks(ranked(), KEYS, 0, 2), "n_tasks is 0; it must be a whole number of at least 1"),
    "unknown condition": (
        lambda: it.hard_tasks(VALUES, KEYS, "harder", 2, 2),
        "condition is 'harder', allowed: hard99, hard95, hard85",
    ),
    "hard with few images": (
        lambda: it.hard_tasks(VALUES, KEYS, "hard95", 2, 2),
        "condition names hard95, whose queries start at rank 2 of 40 images, but the first n_tasks * n_explanations = 2 * 2 = 4 "
        "ranks explain; it needs at least 80 images, or fewer tasks or explanations",
    ),
    "hard with NaN": (
        lambda: it.hard_tasks(with_value(VALUES, np.nan, 9, 0), KEYS, "hard85", 2, 2),
        "activations holds nan at [9, 0]; all values must be finite",
    ),
    # ---- margins and scores
    "tasks of another K": (
        lambda: it.task_margins(ROWS, TASKS, 3),
        "tasks has shape (1, 1, 6); it must be (units, tasks, 2 * (n_explanations + 1)), 8 at the end",
    ),
    "tasks of other images": (
        lambda: it.task_margins(ROWS[:5], TASKS, 2),
        "tasks names images 0 to 5, but there are 5 images",
    ),
    "negative images": (
        lambda: it.task_margins(ROWS, TASKS - 1, 2),
        "tasks names images -1 to 4, but there are 40 images",
    ),
    "tasks as floats": (
        lambda: it.task_margins(ROWS, TASKS / 2, 2),
        "tasks holds values of type float64; it must hold numbers of images",
    ),
    "unknown aggregation": (
        lambda: it.task_margins(ROWS, TASKS, 2, "sum"),
        "aggregation is 'sum', allowed: mean, max, median, softmax",
    ),
    "cold softmax": (
        lambda: it.task_margins(ROWS, TASKS, 2, softmax_temperature=0),
        "softmax_temperature is 0; it must be a finite number above 0",
    ),
    "flat margins": (lambda: it.unit_scores(MARGINS[0], 1.0), "margins has shape (4,); it must be (units, tasks)"),
    "NaN margin": (
        lambda: it.unit_scores(with_value(MARGINS, np.nan, 2, 3), 1.0),
        "margins holds nan at [2, 3]; all values must be finite",
    ),
    "scores with slope 0": (lambda: it.unit_scores(MARGINS, 0), "slope is 0; it must be a finite number above 0"),
    "mask of another length": (
        lambda: it.unit_scores(MARGINS, 1.0, np.zeros((6, 3), bool)),
        "near has shape (6, 3) and values of type bool; it must be bool, of the shape of margins, (6, 4)",
    ),
    "mask of numbers": (
        lambda: it.unit_scores(MARGINS, 1.0, np.zeros((6, 4))),
        "near has shape (6, 4) and values of type float64; it must be bool, of the shape of margins, (6, 4)",
    ),
    "his of others": (
        lambda: it.fit_slope(MARGINS, HIS[:5]),
        "need margins (units, tasks) and his (units,), got (6, 4) and (5,)",
    ),
    "his of nobody": (
        lambda: it.fit_slope(MARGINS[:0], HIS[:0]),
        "need margins (units, tasks) and his (units,), got (0, 4) and (0,)",
    ),
    "his NaN": (lambda: it.fit_slope(MARGINS, with_value(HIS, np.nan, 0)), "margins and his must be finite"),
    "his as text": (lambda: it.fit_slope(MARGINS, "his"), "his is of type str; it must be an array (units,)"),
    "unknown objective": (
        lambda: it.fit_slope(MARGINS, HIS, "likelihood"),
        "objective is 'likelihood'; allowed are squared_error, moments",
    ),
    # ---- people
    "answers as a list": (
        lambda: it.human_scores([1, 0]),
        "answers is of type list; it must be a pandas DataFrame with the columns model, layer, unit, condition, correct",
    ),
    "answers without correct": (
        lambda: it.human_scores(ANSWERS.drop(columns="correct")),
        "answers lacks the column correct; it needs model, layer, unit, condition, correct",
    ),
    "half right": (
        lambda: it.human_scores(ANSWERS.assign(correct=0.5)),
        "answers holds 0.5 in the column correct, row 0; it must be 1 (True) or 0 (False), and so in 11 more rows",
    ),
    "right as text": (
        lambda: it.human_scores(ANSWERS.assign(correct="yes")),
        "answers holds 'yes' in the column correct, row 0; it must be 1 (True) or 0 (False), and so in 11 more rows",
    ),
    "answer missing": (
        lambda: it.human_scores(ANSWERS.assign(correct=[None, *[1.0] * 11])),
        "answers holds nan in the column correct, row 0; it must be 1 (True) or 0 (False)",
    ),
    # ---- tables of units and answers, by row
    "a missing unit": (
        lambda: it.human_scores(ANSWERS.assign(unit=[None, *[1.0] * 11])),
        "answers holds nan in the column unit, row 0; it must be a whole number of at least 0",
    ),
    "half a unit": (
        lambda: it.human_scores(ANSWERS.assign(unit=[*[1.0] * 11, 1.5])),
        "answers holds 1.5 in the column unit, row 11; it must be a whole number of at least 0",
    ),
    "a unit as text": (
        lambda: it.compare_with_people(UNITS, ANSWERS.assign(unit=ANSWERS["unit"].astype(str))),
        "answers holds '0' in the column unit, row 0; it must be a whole number of at least 0, and so in 11 more rows",
    ),
    "a unit beyond 64 bits": (
        lambda: it.human_scores(ANSWERS.assign(unit=[*[1.0] * 11, 1e30])),
        "answers holds 1e+30 in the column unit, row 11; it must be a whole number of at least 0",
    ),
    "true for a unit": (
        lambda: it.human_scores(ANSWERS.assign(unit=True)),
        "answers holds True in the column unit, row 0; it must be a whole number of at least 0, and so in 11 more rows",
    ),
    "a layer as a number": (
        lambda: it.human_scores(ANSWERS.assign(layer=0.1)),
        "answers holds 0.1 in the column layer, row 0; it must be text (read such columns with dtype=str), and so in 11 more rows",
    ),
    "a network without name": (
        lambda: it.noise_ceiling(UNITS.assign(model=["net", None, "net"]), ANSWERS),
        "units holds nan in the column model, row 1; it must be text",
    ),
    "a task by name": (
        lambda: it.compare_with_people(UNITS, ANSWERS.assign(task="first")),
        "answers holds 'first' in the column task, row 0; it must be a whole number of at least -1, and so in 11 more rows",
    ),
    "a score as text": (
        lambda: it.compare_with_people(UNITS.assign(mis=["0.5", "0.6", "0.7"]), ANSWERS),
        "units holds '0.5' in the column mis, row 0; it must be a finite number, or NaN, and so in 2 more rows",
    ),
    "an infinite score": (
        lambda: it.compare_with_people(UNITS.assign(mis=[0.5, np.inf, 0.7]), ANSWERS),
        "units holds inf in the column mis, row 1; it must be a finite number, or NaN",
    ),
    "a split in words": (
        lambda: it.compare_with_people(UNITS.assign(in_split="False"), ANSWERS),
        "units holds 'False' in the column in_split, row 0; it must be 1 (True) or 0 (False), and so in 2 more rows",
    ),
    # ---- numbers that a smaller type does not hold
    "more tasks than tables number": (
        lambda: units(n_tasks=40_000),
        "n_tasks is 40000; it must be at most 32,767",
    ),
    "margins of more tasks": (
        lambda: it.unit_scores(np.zeros((1, 40_000)), slope=1),
        "margins has 40000 tasks a unit; it must be at most 32767",
    ),
    "an image beyond 32 bits": (
        lambda: it.task_margins(ROWS, TASKS + 2**32, 2),
        "tasks holds 4294967296 at [0, 0, 0]; int32 takes whole numbers from -2,147,483,648 to 2,147,483,647",
    ),
    "a negative key": (
        lambda: it.rank_images(VALUES, 2, np.array([0, -1, 2])),
        "keys holds -1 at [1]; uint64 takes whole numbers from 0 to 18,446,744,073,709,551,615",
    ),
    "a value beyond float32 in hard tasks": (
        lambda: it.hard_tasks(with_value(VALUES, 1e300, 3, 1), KEYS, condition="hard85", n_tasks=2, n_explanations=2),
        "activations holds 1e+300 at [3, 1]; float32 takes numbers up to 3.4e+38",
    ),
    "duplicate answers": (
        lambda: it.compare_with_people(UNITS, pd.concat([ANSWERS, ANSWERS[5:6]])),
        "answers holds more than one answer of participant ann to task 1 of model net, layer conv, unit 1, condition natural",
    ),
    "no answers": (lambda: it.compare_with_people(UNITS, ANSWERS[:0]), "answers has no rows"),
    "no units": (lambda: it.noise_ceiling(UNITS[:0], ANSWERS), "units has no rows"),
    "units without mis": (
        lambda: it.compare_with_people(UNITS.drop(columns="mis"), ANSWERS),
        "units lacks the column mis; it needs model, layer, unit, mis",
    ),
    "units twice": (
        lambda: it.compare_with_people(pd.concat([UNITS, UNITS]), ANSWERS),
        "units holds more than one row of model net, layer conv, unit 0, condition natural",
    ),
    "other units": (
        lambda: it.compare_with_people(UNITS.assign(model="other"), ANSWERS),
        "no unit of units has an answer in answers; they are matched by model, layer, unit, condition",
    ),
    "one resample": (
        lambda: it.compare_with_people(UNITS, ANSWERS, n_bootstrap=1),
        "n_bootstrap is 1; it must be a whole number of at least 2",
    ),
    "certain": (
        lambda: it.compare_with_people(UNITS, ANSWERS, confidence=1),
        "confidence is 1; it must be a finite number above 0 and below 1",
    ),
    "percent": (
        lambda: it.noise_ceiling(UNITS, ANSWERS, confidence=95),
        "confidence is 95; it must be a finite number above 0 and below 1",
    ),
    "no simulation": (
        lambda: it.noise_ceiling(UNITS, ANSWERS, n_simulations=0),
        "n_simulations is 0; it must be a whole number of at least 2",
    ),
    # ---- pictures of units
    "pictures of no network": (
        lambda: visualise("resnet50"),
        "model is of type str; it must be a torch.nn.Module",
    ),
    "pictures of an unknown layer": (
        lambda: visualise(layer="1x"),
        "layer is '1x', which the network lacks, or which gives no units; near: 0, 2",
    ),
    "pictures of a layer by number": (lambda: visualise(layer=2), "layer is 2 of type int; it must be text"),
    "pictures of a channel that is not there": (lambda: visualise(units=[5]), "units is 5; it must be at most 4"),
    "pictures of no unit": (
        lambda: visualise(units=[]),
        "units names none; it must be one or more channels of the layer",
    ),
    "pictures of half a unit": (
        lambda: visualise(units=[0.5]),
        "units is 0.5; it must be a whole number of at least 0",
    ),
    "no picture": (lambda: visualise(n_images=0), "n_images is 0; it must be a whole number of at least 1"),
    "no step": (lambda: visualise(steps=0), "steps is 0; it must be a whole number of at least 1"),
    "no rate": (lambda: visualise(rate=0), "rate is 0; it must be a finite number above 0"),
    "diversity below zero": (
        lambda: visualise(diversity=-1),
        "diversity is -1; it must be a finite number of at least 0",
    ),
    "diversity by another word": (
        lambda: visualise(diversity="much"),
        "diversity is 'much'; it must be adaptive or a number of at least 0",
    ),
    "adaptive without nature": (
        lambda: visualise(diversity="adaptive"),
        "diversity is adaptive, which asks whether natural images are beaten, and images is None; pass some, or a number",
    ),
    "a path for natural images": (
        lambda: visualise(images="photos"),
        "images is of type str; it must be an ImageFolder, or an object with len() and pixels(row) -> (H, W, 3) uint8",
    ),
    "one natural image for all": (
        lambda: visualise(images=Shown()),
        re.compile("units names 0, which has the value .* for all images"),
    ),
    "pictures in whole numbers": (
        lambda: visualise(precision="int8"),
        "precision is 'int8', allowed: float32, tf32, float16, bfloat16",
    ),
    "pictures on no device": (
        lambda: visualise(device="gpu"),
        re.compile(r"device is 'gpu', which torch cannot use \(.*\); cpu and cuda are usual"),
    ),
    "pictures of a network of grey": (
        lambda: visualise(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)).eval(), "0"),
        re.compile(
            r"model does not take pictures of shape \(n, 3, 8, 8\), red, green and blue in the size of its crop: .*"
        ),
    ),
    # ---- layers and capture
    "no network": (lambda: it.find_layers("resnet50", IMAGES), "model is of type str; it must be a torch.nn.Module"),
    "in training mode": (
        lambda: it.find_layers(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), IMAGES),
        "model is in training mode; call its eval() first",
    ),
    "array for an example": (
        lambda: it.find_layers(NETWORK, IMAGES.numpy()),
        "example is of type ndarray; it must be a torch.Tensor",
    ),
    "one image": (
        lambda: it.find_layers(NETWORK, IMAGES[:1]),
        "example has shape (1, 3, 8, 8); it must be (2 or more images, C, H, W)",
    ),
    "integer images": (
        lambda: it.find_layers(NETWORK, (IMAGES * 255).byte()),
        "example holds values of type torch.uint8; it must be floating-point, as the network's preprocessing gives images",
    ),
    "unknown type of layer": (
        lambda: it.find_layers(NETWORK, IMAGES, layer_types=["Convolution"]),
        "layer_types names 'Convolution', allowed: Conv, Linear, BatchNorm, LayerNorm, GroupNorm, Other",
    ),
    "no layer left": (
        lambda: it.find_layers(NETWORK, IMAGES, layer_types=["Linear"]),
        "no layer is left of 0 with layer_types = Linear after the first and the last are left out "
        "(drop_first_last); the network has 2 Conv",
    ),
    "no layer at all": (
        lambda: it.find_layers(NETWORK, IMAGES, layer_types=["Linear"], drop_first_last=False),
        "no layer is left of 0 with layer_types = Linear; the network has 2 Conv",
    ),
    "unknown linear": (
        lambda: it.find_layers(NETWORK, IMAGES, linear="none"),
        "linear is 'none', allowed: all, blocks",
    ),
    "unknown norm_act": (
        lambda: it.find_layers(NETWORK, IMAGES, norm_act="inside"),
        "norm_act is 'inside', allowed: before, after",
    ),
    "a code that does not fit": (
        lambda: it.encode(it.Code(encoder=torch.ones(2, 3), activation="topk"), torch.ones(3)),
        "k is 0; topk needs one from 1 to 2, the number of latents",
    ),
    "values and embeddings of other images": (
        lambda: it.whole_range(VALUES, ROWS[:30], n_explanations=2),
        "activations has 40 images and embeddings has 30; they must be of the same images",
    ),
    "sums of other images": (
        lambda: it.monosemanticity(VALUES, ROWS[:30]),
        "activations has 40 images and embeddings has 30; they must be of the same images",
    ),
    "too few images for an index": (
        lambda: it.interpretability_index(ROWS, np.array([[0, 99]])),
        "images must name at least two rows of 40 a unit",
    ),
    "sums of another precision": (
        lambda: it.MonosemanticitySums("float16"),
        "precision is 'float16', allowed: float32, float64",
    ),
    "pairs of no two units": (
        lambda: it.judged_pairs([1.0, 2.0], [[0, 0]], [True]),
        "units has shape (2,); it must be (1, 2)",
    ),
    "maps of another width": (
        lambda: it.encode(it.Code(encoder=torch.ones(2, 3)), torch.ones(4)),
        "maps has shape (4,); its last of at most three axes must be 3, the width of the layer that the code reads",
    ),
    "a reader of no layer": (
        lambda: it.Capture(NETWORK, layers(), 3, "cpu", readers={"nowhere": UnitReader(4, "mean")}),
        "readers name 'nowhere', which is none of the layers",
    ),
    "names for layers": (
        lambda: it.Capture(NETWORK, ["0"], 3, "cpu"),
        "layers must be one or more of the layers that find_layers gives",
    ),
    "no layers": (
        lambda: it.Capture(NETWORK, [], 3, "cpu"),
        "layers must be one or more of the layers that find_layers gives",
    ),
    "batches of none": (
        lambda: it.Capture(NETWORK, layers(), 0, "cpu"),
        "batch_size is 0; it must be a whole number of at least 1",
    ),
    "unknown precision": (
        lambda: it.Capture(NETWORK, layers(), 3, "cpu", precision="int8"),
        "precision is 'int8', allowed: float32, tf32, float16, bfloat16",
    ),
    "unknown device": (
        lambda: it.Capture(NETWORK, layers(), 3, "gpu"),
        re.compile(r"device is 'gpu', which torch cannot use \(.*\); cpu and cuda are usual", re.S),
    ),
    "a batch too large": (
        lambda: it.Capture(NETWORK, layers(), 2, "cpu")(IMAGES),
        "batch has 3 images, more than batch_size = 2",
    ),
    "a batch of integers": (
        lambda: it.Capture(NETWORK, layers(), 3, "cpu")((IMAGES * 255).byte()),
        "batch holds values of type torch.uint8; it must be floating-point, as the network's preprocessing gives images",
    ),
    "a batch without channels": (
        lambda: it.Capture(NETWORK, layers(), 3, "cpu")(IMAGES[:, 0]),
        "batch has shape (3, 8, 8); it must be (1 or more images, C, H, W)",
    ),
    # ---- images and similarities
    "no folder": (lambda: it.ImageFolder("nowhere"), "path is nowhere, which is no folder"),
    "folder without images": (
        lambda: it.ImageFolder("studies"),
        "path is studies, which holds no image (.jpg, .jpeg, .png, .webp)",
    ),
    "number for a folder": (lambda: it.ImageFolder(3), "path is of type int; it must be the path of a folder"),
    "unknown similarity": (
        lambda: it.open_similarity("ssim", Shown()),
        f"name names 'ssim', which is no similarity; allowed: {SIMILARITIES}",
    ),
    "unknown branch": (
        lambda: it.open_similarity("lpips-resnet", Shown()),
        f"name names 'lpips-resnet', which is no similarity, did you mean lpips-squeeze or lpips-alex?; allowed: {SIMILARITIES}",
    ),
    "number for a similarity": (lambda: it.open_similarity(7, Shown()), "name is 7 of type int; it must be text"),
    "folder name for images": (
        lambda: it.open_similarity("pixel", "pictures"),
        "images is of type str; it must be an ImageFolder, or an object with len() and pixels(row) -> (H, W, 3) uint8",
    ),
    "list for images": (
        lambda: it.open_similarity("pixel", [IMAGES]),
        "images is of type list; it must be an ImageFolder, or an object with len() and pixels(row) -> (H, W, 3) uint8",
    ),
    "option of another family": (
        lambda: it.open_similarity("pixel", Shown(), view="crop"),
        "similarity pixel has no option view; it has aggregation, softmax_temperature, uncut",
    ),
    "similarity's aggregation": (
        lambda: it.open_similarity("pixel", Shown(), aggregation="sum"),
        "aggregation is 'sum', allowed: mean, max, median, softmax",
    ),
    "small size": (
        lambda: it.open_similarity("dists", Shown(), size=16),
        "size is 16; it must be a whole number of at least 32",
    ),
    "unknown view": (
        lambda: it.open_similarity("dreamsim", Shown(), view="whole"),
        "view is 'whole', allowed: crop, squash",
    ),
    "number for weights": (
        lambda: it.open_similarity("lpips-alex", Shown(), weights=3),
        "weights is 3; it must be a folder, or a function that gives the content of a WeightsFile",
    ),
    "no network to encode": (
        lambda: it.open_similarity("encoder", Shown()),
        "network is missing: similarity encoder compares the features of a network",
    ),
    "no factors": (
        lambda: it.open_similarity("oracle", Shown()),
        "factors is missing: similarity oracle compares the factors of generated scenes",
    ),
    "tasks beyond the images": (
        lambda: it.open_similarity("pixel", Shown(5)).margins(TASKS, 2),
        "tasks names images 0 to 5, but there are 5 images",
    ),
    "tasks of another size": (
        lambda: it.open_similarity("pixel", Shown()).margins(TASKS, 1),
        "tasks has shape (1, 1, 6) and values of type int64; it must hold numbers of images, 4 at the end",
    ),
    "no pooled features": (
        lambda: it.open_similarity("encoder", Shown(), network=NETWORK, preprocessing=SHOWN).margins(TASKS, 2),
        "layer is empty, but the network is no timm network with pooled features; name a module of it whose output is to be compared",
    ),
    "no such layer": (
        lambda: it.open_similarity("encoder", Shown(), network=NETWORK, preprocessing=SHOWN, layer="9").margins(
            TASKS, 2
        ),
        "layer is '9', but the network has no such layer",
    ),
    # ---- networks
    "name of a network": (lambda: network("resnet50"), "model is of type str; it must be a torch.nn.Module"),
    "images of a network": (
        lambda: network(images="pictures"),
        "images is of type str; it must be an ImageFolder, or an object with len() and pixels(row) -> (H, W, 3) uint8",
    ),
    "few images": (
        lambda: network(images=Shown(11)),
        "11 images are too few: n_tasks = 2 and n_explanations = 2 need at least 2 * 2 * 3 = 12. Add at least 1, "
        "or lower n_explanations to 1",
    ),
    "float images": (
        lambda: network(images=Shown(20, np.zeros((8, 8, 3)))),
        "pixels(0) of images has shape (8, 8, 3) and values of type float64; it must be (height, width, 3) uint8, RGB from 0 to 255",
    ),
    "float images outside 0..1": (
        lambda: network(images=Shown(20, np.full((8, 8, 3), 255.0, np.float32))),
        "pixels(0) of images has shape (8, 8, 3) and values of type float32; it must be (height, width, 3) uint8, RGB from 0 to 255",
    ),
    "grey images": (
        lambda: network(images=Shown(20, np.zeros((8, 8), np.uint8))),
        "pixels(0) of images has shape (8, 8) and values of type uint8; it must be (height, width, 3) uint8, RGB from 0 to 255",
    ),
    "channels first": (
        lambda: network(images=Shown(20, np.zeros((3, 8, 8), np.uint8))),
        "pixels(0) of images has shape (3, 8, 8) and values of type uint8; it must be (height, width, 3) uint8, RGB from 0 to 255",
    ),
    "similarity of nothing": (
        lambda: network(similarity="vgg"),
        f"similarity names 'vgg', which is no similarity; allowed: {SIMILARITIES}",
    ),
    "similarity of others": (
        lambda: network(similarity=it.open_similarity("pixel", Shown(30))),
        "similarity is of 30 images and images has 20; they must be the same",
    ),
    "no preprocessing": (
        lambda: network(preprocessing=None),
        'preprocessing is None, and the network has no record of timm; pass what it was trained with, such as {"crop": 224, '
        '"resize": 256, "interpolation": "bilinear", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}',
    ),
    "number for preprocessing": (
        lambda: network(preprocessing=224),
        'preprocessing is of type int; pass what it was trained with, such as {"crop": 224, "resize": 256, "interpolation": '
        '"bilinear", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}',
    ),
    "half a preprocessing": (
        lambda: network(preprocessing={"crop": 224}),
        re.compile(
            r"the network: preprocessing \{'crop': 224\} is not understood: resize is missing; mean is missing; std is missing\. "
            r"Write JSON such as .*"
        ),
    ),
    "unknown interpolation": (
        lambda: network(preprocessing=SHOWN | {"interpolation": "lanczos"}),
        re.compile(
            r"the network: preprocessing \{.*\.\.\. is not understood: interpolation is 'lanczos', allowed: bicubic, bilinear, "
            r"nearest\. Write JSON such as .*"
        ),
    ),
    "network's negative slope": (lambda: network(slope=-1.0), "slope is -1.0; it must be a finite number above 0"),
    "network's batches": (lambda: network(batch_size=0), "batch_size is 0; it must be a whole number of at least 1"),
    "network's explanations": (
        lambda: network(n_explanations=0),
        "n_explanations is 0; it must be a whole number of at least 1",
    ),
    "network's device": (
        lambda: network(device="gpu"),
        re.compile(r"device is 'gpu', which torch cannot use \(.*\); cpu and cuda are usual", re.S),
    ),
    "network's name": (lambda: network(name=None), "name is None of type NoneType; it must be text"),
    "network's seed": (lambda: network(seed=0.5), "seed is 0.5; it must be a whole number of at least 0"),
    "network's layers": (
        lambda: network(layer_types="Conv2d"),
        "layer_types names 'Conv2d', allowed: Conv, Linear, BatchNorm, LayerNorm, GroupNorm, Other",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_argument_is_named_with_its_value_and_what_is_allowed(case, monkeypatch):
    from tests.helpers.rules import ROOT

    monkeypatch.chdir(ROOT)
    call, expected = CASES[case]
    with pytest.raises(it.InputError) as caught:
        call()
    message = str(caught.value)
    assert expected.fullmatch(message) if isinstance(expected, re.Pattern) else message == expected
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


@pytest.mark.parametrize("name", sorted(set(it.__all__) - {"InputError", "similarity_names"}))
def test_every_public_call_is_in_the_table(name):
    source = {"score_units": "units", "score_network": "network", "score_texts": "texts"}.get(name, f"it.{name}")
    assert any(
        source in " ".join(map(str, call.__code__.co_names)) or name in call.__code__.co_names
        for call, _ in CASES.values()
    )


# ---- the same errors where a study shows them, in the words of params.yaml


def annotated(n):
    return pd.DataFrame({"model": "net", "layer": "conv", "unit": range(n), "condition": "natural"})


IN_A_STUDY = {
    "images": (
        CASES["too few images"][0],
        "11 images are too few: tasks.n_tasks = 2 and tasks.n_explanations = 2 need at least 2 * 2 * 3 = 12. Add at least 1, or lower "
        "tasks.n_explanations to 1",
    ),
    "condition": (
        CASES["hard with few images"][0],
        "tasks.conditions names hard95, whose queries start at rank 2 of 40 images, but the first tasks.n_tasks * "
        "tasks.n_explanations = 2 * 2 = 4 ranks explain; it needs at least 80 images, or fewer tasks or explanations",
    ),
    "layers": (
        CASES["no layer left"][0],
        "no layer is left of 0 with units.layer_types = Linear after the first and the last are left out "
        "(units.drop_first_last); the network has 2 Conv",
    ),
    "aggregation": (
        CASES["unknown aggregation"][0],
        "scores.aggregation is 'sum', allowed: mean, max, median, softmax",
    ),
    "similarity": (
        CASES["unknown branch"][0],
        f"scores.backends names 'lpips-resnet', which is no similarity, did you mean lpips-squeeze or lpips-alex?; allowed: {SIMILARITIES}",
    ),
    "pooled features": (
        CASES["no pooled features"][0],
        "scores.encoder.layer is empty, but the network is no timm network with pooled features; name a module of it whose output "
        "is to be compared",
    ),
    "layer": (CASES["no such layer"][0], "scores.encoder.layer is '9', but the network has no such layer"),
    "objective": (
        CASES["unknown objective"][0],
        "calibration.objective is 'likelihood'; allowed are squared_error, moments",
    ),
    "split": (
        lambda: draw_split(annotated(100), 0.05, 0, 20, False),
        "calibration.fraction 0.05 of 100 annotated units leaves 5 for the slope, fewer than calibration.min_units 20; set "
        "calibration.fraction to 0.2 or more, or set calibration.allow_few to true",
    ),
    "split of few": (
        lambda: draw_split(annotated(10), 0.05, 0, 20, False),
        "calibration.fraction 0.05 of 10 annotated units leaves 1 for the slope, fewer than calibration.min_units 20; annotate more "
        "units, or set calibration.allow_few to true",
    ),
    "observers": (
        lambda: observers.choose_units(np.array(["a", "a", "b"]), 4, 0, "net"),
        "human.simulated.n_units is 4, but network net has 3 units with tasks; allowed are 1 to 3",
    ),
    "trials": (
        lambda: observers.assign(4, 2, 5, 3, np.random.default_rng(0)),
        "human.simulated.n_trials is 5; allowed are 1 to the 4 units of a network",
    ),
}


@pytest.mark.parametrize("case", IN_A_STUDY)
def test_people_who_run_a_study_read_its_keys(case):
    call, expected = IN_A_STUDY[case]
    with pytest.raises(SystemExit) as ended:
        command.run(call)
    assert ended.value.code == f"\nError: {expected}"
    assert guarded(lambda _: call(), None).reason == expected


def test_a_study_tells_its_own_errors_and_those_of_others_as_they_are():
    assert message_of(StudyError("a {brace} in n_tasks")) == "a {brace} in n_tasks"
    assert message_of(ValueError("n_tasks is 1")) == "n_tasks is 1"
    assert guarded(lambda _: 1 / 0, None).reason == "ZeroDivisionError: division by zero"


def test_values_may_hold_braces():
    error = it.InputError("{name} is {given!r}", "name", given="{n_tasks}")
    assert str(error) == "name is '{n_tasks}'"
    assert message_of(error) == "scores.backends is '{n_tasks}'"


def test_taps_need_no_type_of_layer():
    found = it.find_layers(NETWORK, IMAGES, layer_types=(), drop_first_last=False, taps=[Tap("relu", "1", "output", 1)])
    assert [layer.name for layer in found] == ["relu"]
