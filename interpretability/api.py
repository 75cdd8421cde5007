"""The composed calls: from activations, or a network, to scores of units, and from scores and answers to their agreement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability import arguments, columns
from interpretability.casts import narrowed
from interpretability.errors import InputError
from interpretability.extremes.selection import Ranked, rank_images
from interpretability.margins import cosine_margins
from interpretability.mis import unit_scores
from interpretability.people.agreement import agreement_table
from interpretability.people.annotated import with_people
from interpretability.people.ceiling import ceiling_table
from interpretability.people.human_scores import human_scores
from interpretability.people.noise import noise_within_tasks
from interpretability.randomness import unit_keys
from interpretability.schema import FACTS, KEY, MOST_TASKS, NATURAL, SCORED_TYPES, UNIT
from interpretability.similarity.arrays import length_one
from interpretability.tasks import natural, rules
from interpretability.tasks.one_sided import one_sided_tasks

if TYPE_CHECKING:
    from torch import nn

    from interpretability.images import Images
    from interpretability.networks.layers import Layer
    from interpretability.networks.preprocessing import Preprocessing
    from interpretability.similarity.base import Similarity
    from interpretability.weights import Weights

_SCORES = ["mis", "mis_se", "accuracy", "margin_mean", "margin_sd"]
SLOPE = 6.25  # 1 / 0.16, the paper's for DreamSim
GIVEN, PUBLISHED, UNCALIBRATED = "given", "published", "not calibrated"


def score_units(
    activations: NDArray[np.floating],
    embeddings: NDArray[np.floating],
    *,
    n_tasks: int = 20,
    n_explanations: int = 9,
    slope: float = SLOPE,
    seed: int = 0,
    model: str = "network",
    layer: str = "layer",
    one_sided: bool = False,
    threads: int | None = None,
) -> pd.DataFrame:
    """The Machine Interpretability Score of the units of a layer, from arrays (MIS paper, section 3).

    activations     (D, U): values of D images and U units, finite; taken as float32
    embeddings      (D, E): of the same images, whose cosines say how alike they are; lengths of rows do not matter
    n_tasks         N, tasks a unit; n_explanations: K, explanations a side of a task. D >= 2 N (K + 1), better ten times that
    slope           of the sigmoid between margins (-4 to 4) and probabilities, above 0: 6.25 is the published one of DreamSim;
                    `fit_slope` finds one from answers of people
    seed, model, layer   name every random draw: equal ones give equal tasks, whatever else is scored beside it. Units are
                    0 to U - 1, so score a layer as a whole
    one_sided       negative explanations and queries are random images outside the unit's N(K + 1) most exciting ones, in place
                    of those that excite it least: for comparing latents of sparse codes, which have no lower end, with units
                    that have one. A latent above zero for fewer than N(K + 1) images scores too low, at chance from N K down
    threads         all cores by default; no result depends on it

    Returns a row a unit, in order: model, layer, unit, mis (0 to 1, 0.5 is chance, higher is easier to understand), mis_se
    (from the sampling of tasks), accuracy (share of tasks solved, ties half), margin_mean, margin_sd, n_tasks, constant. A
    unit whose values span less than 1e-8 is constant: it has no tasks and NaN scores. Levels depend on D: compare scores of
    equal image sets. Raises InputError for other shapes, values that are not finite and too few images.

    >>> import numpy as np
    >>> from interpretability import score_units
    >>> draw = np.random.default_rng(0)
    >>> embeddings = draw.standard_normal((2000, 4))
    >>> activations = np.stack([embeddings[:, 0], draw.standard_normal(2000), np.zeros(2000)], axis=1)
    >>> units = score_units(activations, embeddings, model="mine", layer="layer4")
    >>> units["mis"].round(2).tolist(), units["constant"].tolist()
    ([1.0, 0.47, nan], [False, False, True])
    """
    values = arguments.array(activations, "activations", ("images", "units"))
    rows = arguments.array(embeddings, "embeddings", ("images", "dimensions"))
    arguments.same_images(len(values), len(rows), ("activations", "embeddings"))
    size = _size(n_tasks, n_explanations)
    slope = arguments.number(slope, "slope", above=0)
    rules.check_images(len(values), *size)
    keys = unit_keys(
        _seed(seed), arguments.text(model, "model"), arguments.text(layer, "layer"), np.arange(values.shape[1])
    )
    workers = arguments.threads(threads)
    rows = length_one(rows, workers)
    ranked = rank_images(values, rules.needed(*size), keys, threads=workers)
    constant, tasks = _tasks(ranked, keys, size, len(values) if one_sided else None, threads=workers)
    margins = cosine_margins(rows, tasks, n_explanations, threads=workers)
    owners = {"model": model, "layer": layer, "unit": np.arange(values.shape[1])}
    return _table(pd.DataFrame(owners), margins, slope, constant)


def score_network(
    model: nn.Module,
    images: Images,
    *,
    similarity: str | Similarity = "dreamsim",
    slope: float | None = None,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
    layer_types: Sequence[str] = SCORED_TYPES,
    drop_first_last: bool = True,
    n_tasks: int = 20,
    n_explanations: int = 9,
    seed: int = 0,
    name: str = "network",
    one_sided: bool = False,
    device: str = "cpu",
    weights: Weights = "weights",
    batch_size: int = 100,
    threads: int | None = None,
) -> pd.DataFrame:
    """The Machine Interpretability Score of every unit of a network, in one pass over the images.

    model           a torch.nn.Module, on any device; it is left as it was found
    images          an `ImageFolder`, or any object with len() and pixels(row) -> (H, W, 3) uint8; at least 2 N (K + 1)
    similarity      a name of `similarity_names()`, or what `open_similarity` gives for the same images, with its own options
    slope           of the sigmoid, above 0; left out, that which the paper publishes for the similarity, and where it
                    publishes none that of DreamSim: the column slope_from then says "not calibrated", and units are better
                    ranked by margin_mean and accuracy
    preprocessing   what the network was trained with, as {"crop": 224, "resize": 256, "mean": [...], "std": [...],
                    "interpolation": "bicubic", "mode": "center"}; left out, timm's record of the network. Modes: center: the
                    shorter side becomes `resize`, then the centre is cut; border: the same with a black border; squash: the
                    whole image becomes a square. Means and standard deviations are for RGB in 0..1
    layer_types, drop_first_last   which layers count, as for `find_layers`
    n_tasks, n_explanations, seed, one_sided, threads   as for `score_units`; `name` stands for the network in tables and draws
    device          where the network and the similarity run: cpu, cuda, ...
    weights         folder for the weights of the similarity, filled on first use; see `open_similarity`
    batch_size      images of a forward pass: part of the definition of the last bits

    Returns a row a unit in the order of layers: model, layer, unit, layer_type, layer_index, depth (0 to 1), width, and the
    columns of `score_units`; then similarity, slope, and slope_from: given, published or not calibrated. Raises InputError
    for arguments that do not fit together, and where a unit's value of an image depends on other images.
    Departure: the paper's own images are the whole of ImageNet; here they are what is passed.

    >>> import numpy as np, torch
    >>> from interpretability import score_network
    >>> class Noise:
    ...     def __len__(self):
    ...         return 60
    ...     def pixels(self, row):
    ...         return np.random.default_rng(row).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 5, 3), torch.nn.Conv2d(5, 2, 3))
    >>> shown = {"crop": 16, "resize": 16, "mean": [0.5] * 3, "std": [0.5] * 3}
    >>> units = score_network(network, Noise(), similarity="pixel", preprocessing=shown, n_tasks=5, n_explanations=2)
    >>> len(units), units["slope_from"].unique().tolist()
    (5, ['not calibrated'])
    """
    from interpretability.networks.layers import check_network, checked_device, find_layers
    from interpretability.networks.preprocessing import preprocessing_of
    from interpretability.similarity.base import Similarity
    from interpretability.similarity.registry import check_images_object, family_of, open_similarity
    from interpretability.tasks.network_extremes import at_work, rank_for_network

    check_network(model)
    check_images_object(images)
    size = _size(n_tasks, n_explanations)
    batch_size = arguments.count(batch_size, "batch_size")
    rules.check_images(len(images), *size)
    name, seed = arguments.text(name, "name"), _seed(seed)
    if slope is not None:
        slope = arguments.number(slope, "slope", above=0)
    checked_device(device)
    prepare = preprocessing_of(model, preprocessing)
    judge = similarity
    if not isinstance(judge, Similarity):
        family_of(judge, "similarity")
        judge = open_similarity(judge, images, device=device, weights=weights)
    elif len(judge.images) != len(images):
        raise InputError(
            "{similarity} is of {others} images and {images} has {count}; they must be the same",
            "similarity",
            "images",
            others=len(judge.images),
            count=len(images),
        )
    with at_work(model, device):
        layers, keys, ranked = rank_for_network(
            model,
            images,
            prepare,
            rules.needed(*size),
            find=partial(find_layers, layer_types=layer_types, drop_first_last=drop_first_last),
            keys_of=lambda layer: unit_keys(seed, name, layer.name, np.arange(layer.width)),
            batch_size=batch_size,
            device=device,
            threads=arguments.threads(threads),
        )
    constant, tasks = _tasks(ranked, keys, size, len(images) if one_sided else None, threads=arguments.threads(threads))
    origin = GIVEN if slope is not None else PUBLISHED if judge.published_slope is not None else UNCALIBRATED
    slope = slope or judge.published_slope or SLOPE
    units = _owners(name, layers)
    table = _table(units, judge.margins(tasks, n_explanations), slope, constant)
    return table.assign(similarity=judge.name, slope=slope, slope_from=origin)


def compare_with_people(
    units: pd.DataFrame,
    answers: pd.DataFrame,
    *,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Agreement of machine scores with those of people, over units, inside networks, and over networks.

    units         scored units: model, layer, unit and mis; also condition (natural, if left out), similarity (one comparison
                  each) and in_split (units on which a slope was fitted, which get rows of their own without them)
    answers       single answers: model, layer, unit, task (-1: not known), participant, correct; and condition, if units have
    n_bootstrap   resamples of the units; confidence: of all intervals; seed: of the resamples

    Returns a row a similarity, level (unit: every unit is a point; unit_within: after subtracting the mean of its network and
    condition; model: networks are points) and set of units (all; outside_split): n, then pearson and spearman, each with low
    and high, and nested_low, nested_high for networks (IMI, section 4; the intervals are ours: see
    `interpretability.people.agreement`). Correlations are NaN below three points, intervals over networks below five. Units
    without answers are left out. Raises InputError for missing columns, cells that are no name, number or truth (by
    row), a person's second answer to a task, and if no unit has answers.

    >>> import numpy as np, pandas as pd
    >>> from interpretability import compare_with_people
    >>> units = pd.DataFrame({"model": "net", "layer": "conv", "unit": range(8), "mis": np.linspace(0.5, 0.9, 8)})
    >>> answers = pd.DataFrame([("net", "conv", unit, task, f"person {task}", int(task < 3 + unit))
    ...                         for unit in range(8) for task in range(10)],
    ...                        columns=["model", "layer", "unit", "task", "participant", "correct"])
    >>> compare_with_people(units, answers, n_bootstrap=100)[["level", "n", "pearson"]].round(2).values.tolist()
    [['unit', 8, 1.0], ['unit_within', 8, 1.0], ['model', 1, nan]]
    """
    joined, split = _annotated(units, answers)
    n_bootstrap = arguments.count(n_bootstrap, "n_bootstrap", 2)
    confidence = arguments.number(confidence, "confidence", above=0, below=1)
    table = agreement_table(joined, _seed(seed), n_bootstrap, confidence)
    if not split:
        table = table[table["units"] == "all"].drop(columns="units")
    return _by_similarity(table, units)


def noise_ceiling(
    units: pd.DataFrame,
    answers: pd.DataFrame,
    *,
    n_simulations: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """How well any score could agree with these people, whose answers are a finite sample: Pearson correlations over units.

    units, answers   as for `compare_with_people`
    n_simulations    simulations, or bootstrap samples of units; confidence: of all intervals; seed: of both

    Returns a row a subset (easy: conditions natural and synthetic; all) and variant: is_ceiling, leads, mean (the value), sd,
    low, high, n_units, n_simulations. V4w, the correlation of true shares of right answers with the recorded ones from answers
    to the same task, leads where every answer carries its task; elsewhere V4, which takes all answers to a unit for alike, leads
    as a lower bound. What each variant is, and which compare, says
    `interpretability.people.ceiling`. Raises InputError as `compare_with_people` does.
    Departure: V4w, V4b, mixed and split_half are ours; the papers leave the choice among V1 to V5.

    >>> import numpy as np, pandas as pd
    >>> from interpretability import noise_ceiling
    >>> units = pd.DataFrame({"model": "net", "layer": "conv", "unit": range(8), "mis": np.linspace(0.5, 0.9, 8)})
    >>> answers = pd.DataFrame([("net", "conv", unit, task, f"person {task}", int(task < 3 + unit))
    ...                         for unit in range(8) for task in range(10)],
    ...                        columns=["model", "layer", "unit", "task", "participant", "correct"])
    >>> table = noise_ceiling(units, answers, n_simulations=100)
    >>> table.loc[(table["subset"] == "all") & (table["variant"] == "V4"), "mean"].round(2).tolist()
    [0.82]
    """
    joined, _ = _annotated(units, answers)
    n_simulations = arguments.count(n_simulations, "n_simulations", 2)
    confidence = arguments.number(confidence, "confidence", above=0, below=1)
    known = _checked(_with_condition(answers), "answers")
    joined = joined.merge(noise_within_tasks(known), on=KEY, how="left")
    return _by_similarity(ceiling_table(joined, _seed(seed), n_simulations, confidence, known), units)


def _size(n_tasks: object, n_explanations: object) -> tuple[int, int]:
    return arguments.count(n_tasks, "n_tasks", 2, MOST_TASKS), arguments.count(n_explanations, "n_explanations")


def _seed(seed: object) -> int:
    return arguments.count(seed, "seed", 0)


def _tasks(
    ranked: Ranked, keys: NDArray[np.uint64], size: tuple[int, int], one_sided: int | None = None, *, threads: int = 1
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Which units are constant, and the tasks of the others; one-sided ones among that many images, if their number is given."""
    constant, _ = rules.constant(ranked.bottom_values[:, 0], ranked.top_values[:, 0])
    live = ~constant
    if one_sided is not None:
        return constant, one_sided_tasks(ranked.top_images[live], keys[live], one_sided, *size)
    return constant, natural.build(
        ranked.top_images[live], ranked.bottom_images[live], keys[live], *size, threads=threads
    )


def _table(
    units: pd.DataFrame, margins: NDArray[np.float32], slope: float, constant: NDArray[np.bool_]
) -> pd.DataFrame:
    """Units beside the scores of those that are not constant."""
    scores = unit_scores(margins, slope)
    columns = {name: np.full(len(units), np.nan) for name in _SCORES}
    for name, column in columns.items():
        column[~constant] = scores[name]
    n_tasks = narrowed(np.where(constant, 0, margins.shape[1]), np.int16, "n_tasks")
    return units.assign(**columns, n_tasks=n_tasks, constant=constant)


def _owners(name: str, layers: Sequence[Layer]) -> pd.DataFrame:
    """A row a unit, in the order of layers: UNIT and FACTS."""
    rows = [
        (name, layer.name, unit, *(getattr(layer, fact) for fact in FACTS))
        for layer in layers
        for unit in range(layer.width)
    ]
    return pd.DataFrame(rows, columns=[*UNIT, *FACTS])


def _with_condition(table: pd.DataFrame) -> pd.DataFrame:
    """A table with the natural condition where it names none, and tasks and people where it knows none."""
    defaults: dict[str, str | int] = {"condition": NATURAL, "task": -1, "participant": ""}
    return table.assign(**{name: value for name, value in defaults.items() if name not in table.columns})


def _annotated(units: object, answers: object) -> tuple[pd.DataFrame, bool]:
    """Scored units beside the answers of people, and whether some of them are set apart by in_split."""
    scored = _checked(_with_condition(arguments.table(units, "units", (*UNIT, "mis"))), "units")
    answered = _checked(_with_condition(arguments.table(answers, "answers", (*UNIT, "correct"))), "answers")
    if "similarity" in scored.columns and "backend" not in scored.columns:
        scored = scored.assign(backend=scored["similarity"])
    elif "backend" not in scored.columns:
        scored = scored.assign(backend="")
    if scored.duplicated([*KEY, "backend"]).any():
        row = scored[scored.duplicated([*KEY, "backend"])].iloc[0]
        raise InputError(
            "{units} holds more than one row of {which}",
            "units",
            which=", ".join(f"{name} {row[name]}" for name in KEY),
        )
    known = answered[(answered["task"] >= 0) & answered["participant"].notna() & (answered["participant"] != "")]
    again = known.duplicated([*KEY, "task", "participant"])
    if again.any():
        row = known[again].iloc[0]
        raise InputError(
            "{answers} holds more than one answer of participant {person} to task {task} of {which}",
            "answers",
            person=row["participant"],
            task=row["task"],
            which=", ".join(f"{name} {row[name]}" for name in KEY),
        )
    people = human_scores(answered)
    split = "in_split" in scored.columns
    scored = scored if split else scored.assign(in_split=False)
    joined = with_people(scored, people, list(pd.unique(scored["backend"])))
    if not len(joined):
        raise InputError(
            "no unit of {units} has an answer in {answers}; they are matched by " + ", ".join(KEY), "units", "answers"
        )
    return joined, split


def _checked(table: pd.DataFrame, argument: str) -> pd.DataFrame:
    """A table whose columns have the types that are reckoned with; InputError by row for what would be another value."""
    texts = [name for name in ("similarity", "backend") if name in table.columns]
    columns.names(table, argument, ("model", "layer", "condition", *texts))
    checked = {"unit": columns.whole_numbers(table, argument, "unit")}
    if argument == "units":
        checked["mis"] = columns.scores(table, argument, "mis")
        if "in_split" in table.columns:
            checked["in_split"] = columns.truth(table, argument, "in_split")
        return table.assign(**checked)
    checked["task"] = columns.whole_numbers(table, argument, "task", least=-1)
    return table.assign(**checked, correct=columns.truth(table, argument, "correct"))


def _by_similarity(table: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """A table of the study with similarities in place of backends, or without where units name none."""
    if "similarity" in units.columns:
        return table.rename(columns={"backend": "similarity"}).reset_index(drop=True)
    return (table if "backend" in units.columns else table.drop(columns="backend")).reset_index(drop=True)
