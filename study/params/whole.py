"""All parameters of a study together, and the rules that tie groups.

A stage reads its own groups with `reading.load`, which calls this module by name to refuse a study that breaks a rule.
Only what needs every parameter names it: the stage `stats`, which records them all, and tools.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interpretability.schema import HARD, MADE
from interpretability.synthetic.crowd_settings import GUIDES, LEAST_IMAGES, SETTINGS
from study.errors import StudyError
from study.params.activations import Activations
from study.params.calibration import Calibration
from study.params.ceiling import Ceiling
from study.params.checking import check
from study.params.crowd import Crowd
from study.params.crowd_simulation import CrowdSimulation
from study.params.explanation_kinds import ExplanationKinds
from study.params.explanations import MAKERS, Explanations, Guide
from study.params.fields import number, one_of
from study.params.human import Human
from study.params.images import Images
from study.params.label_free import LabelFree
from study.params.mis import Mis
from study.params.models import Models, Training
from study.params.reading import build, content_of
from study.params.report import Report
from study.params.scores import Scores
from study.params.sensitivity import Sensitivity
from study.params.stats import Likeness, Stats
from study.params.tasks import Tasks
from study.params.tuning import Tuning
from study.params.units import Units
from study.params.visualisations import ADAPTIVE, Visualisations, diversity_of

_SIMILARITIES = (
    Path(__file__).resolve().parents[2] / "interpretability" / "similarity" / "backends"
)  # one file a family
_MAPPED_EXPLANATIONS = 9  # explanations a side of the tasks that people of the IMI record saw


@dataclass(frozen=True, kw_only=True)
class Params:
    """The whole of `params.yaml`."""

    seed: int = number(0, 2**63 - 1)
    processor: str = one_of("portable", "native")
    images: Images
    models: Models
    units: Units
    activations: Activations
    visualisations: Visualisations
    tasks: Tasks
    scores: Scores
    label_free: LabelFree
    explanation_kinds: ExplanationKinds
    mis: Mis
    human: Human
    calibration: Calibration
    tuning: Tuning
    ceiling: Ceiling
    sensitivity: Sensitivity
    explanations: Explanations
    crowd: Crowd
    crowd_simulation: CrowdSimulation
    stats: Stats
    report: Report


def load_params(path: str | os.PathLike[str]) -> Params:
    """Parameters of the study from a YAML 1.2 file.

    Raises StudyError with every problem found, each naming its key, its value and what is allowed.
    """
    content, problems = content_of(path), []
    check(Params, content, "", problems)
    if not problems:
        params = build(Params, content)
        _check_together(params, problems)
        if not problems:
            return params
    raise StudyError(
        f"{path}: " + "; ".join(problems) if len(problems) == 1 else f"{path}:\n  " + "\n  ".join(problems)
    )


def keys(kind: type = Params, prefix: str = "") -> list[str]:
    """Every key of params.yaml in dotted form, in order."""
    names: list[str] = []
    for name, hint in typing.get_type_hints(kind).items():
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            names += keys(hint, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def _check_together(params: Params, problems: list[str]) -> None:
    """Rules that tie keys of several groups together."""
    n_tasks, n_explanations = params.tasks.n_tasks, params.tasks.n_explanations
    needed = n_tasks * (n_explanations + 1)
    if needed > params.activations.n_extremes:
        problems.append(
            f"tasks.n_tasks * (tasks.n_explanations + 1) = {n_tasks} * {n_explanations + 1} = {needed} images a side, but "
            f"activations.n_extremes keeps only {params.activations.n_extremes}; raise activations.n_extremes to at "
            f"least {needed} or lower tasks.n_tasks or tasks.n_explanations"
        )
    if params.images.source == "generated" and 2 * needed > params.images.generated.n:
        problems.append(
            f"images.generated.n is {params.images.generated.n}, but tasks.n_tasks = {n_tasks} with "
            f"tasks.n_explanations = {n_explanations} need 2 * {needed} = {2 * needed} images; raise images.generated.n "
            "or lower one of the two"
        )
    most = max((*params.sensitivity.n_tasks, n_tasks)) * (n_explanations + 1)
    most = max(most, n_tasks * (max((*params.sensitivity.n_explanations, n_explanations)) + 1))
    if most > params.activations.n_extremes >= needed:
        problems.append(
            f"sensitivity.n_tasks and sensitivity.n_explanations need up to {most} images a side, but "
            f"activations.n_extremes keeps only {params.activations.n_extremes}; raise it to that or lower those"
        )
    if "natural" not in params.tasks.conditions:
        problems.append(
            f"tasks.conditions is {', '.join(params.tasks.conditions) or 'empty'}, it must name natural: summaries and "
            "rankings are of natural tasks, and harder ones share their explanations"
        )
    _check_harder(params, problems)
    if params.tasks.source == "imi":
        file = Path(params.human.imi.image_map)
        if file.parts[:1] != ("image_data",) or ".." in file.parts:
            problems.append(
                f"tasks.source is imi, but human.imi.image_map is {params.human.imi.image_map!r}; name the map of images, "
                "which must lie in data/external/human/image_data, as image_data/imagenet_exemplars_file_map.json"
            )
        if n_explanations != _MAPPED_EXPLANATIONS:
            problems.append(
                f"tasks.source is imi, but tasks.n_explanations is {n_explanations}; the map holds tasks of "
                f"{_MAPPED_EXPLANATIONS} explanations a side, so it must be {_MAPPED_EXPLANATIONS}"
            )
    _check_recipe(params.models.training, problems)
    _check_visualisations(params.visualisations, problems)
    _check_made_tasks(params, problems)
    _check_texts(params, problems)
    _check_label_free(params, problems)
    _check_kinds(params, problems)
    families = sorted(path.stem for path in _SIMILARITIES.glob("*.py") if path.stem != "__init__")
    problems.extend(
        f"scores.backends names {name!r}, which is no similarity{_near(name.split('-')[0], families)}; there are "
        f"{', '.join(families)} (a variant follows a dash)"
        for name in params.scores.backends
        if name.split("-")[0] not in families or not re.fullmatch(r"[\w-]+", name, re.ASCII)
    )
    problems.extend(
        f"tuning.backends names {name!r}, which is not among scores.backends: {', '.join(params.scores.backends)}"
        for name in params.tuning.backends
        if name not in params.scores.backends
    )
    if params.tuning.backends and not params.tuning.families:
        problems.append(
            "tuning.families is empty, but tuning.backends names similarities; name diagonal, low_rank or both, or empty "
            "tuning.backends"
        )
    if params.human.source == "simulated" and params.images.source != "generated":
        problems.append(
            "human.source is simulated, but images.source is not generated: simulated observers see the factors from "
            "which the scenes are drawn; allowed here: none, imi, table, pairs"
        )
    if params.human.source == "table" and not params.human.table.file:
        problems.append(
            "human.source is table, but human.table.file is empty; give the name of a file in data/external/human"
        )
    if params.human.source == "pairs":
        problems.extend(
            f"human.source is pairs, but human.pairs.{name} is empty; give {allowed}"
            for name, allowed in (
                ("file", "the name of a file in data/external/human"),
                ("model", "the roster name of the network or table whose units were judged"),
            )
            if not getattr(params.human.pairs, name)
        )
    for group in ("columns", "keep", "conditions"):
        for entry in getattr(params.human.table, group):
            name, sign, value = entry.partition("=")
            if not (name and sign and value):
                problems.append(f"human.table.{group} holds {entry!r}, it must have the form name=value")
    _check_likeness(params.stats.likeness, problems)
    if params.report.thumbnail % 16:
        problems.append(
            f"report.thumbnail is {params.report.thumbnail}, it must be a multiple of 16: thumbnails share JPEG sheets, whose "
            "blocks have 16 pixels"
        )
    _check_simulations(params.crowd_simulation, problems)
    checks = params.human.checks
    if checks.min_seconds > checks.max_seconds:
        problems.append(
            f"human.checks.min_seconds is {checks.min_seconds:g}, above human.checks.max_seconds {checks.max_seconds:g}"
        )


def _check_harder(params: Params, problems: list[str]) -> None:
    """Windows that are network/condition and asked about, and harder conditions whose queries the extraction finds, among enough
    images.
    """
    found = set()
    for entry in params.activations.windows:
        network, _, condition = entry.partition("/")
        found.add(condition)
        if not network or condition not in HARD:
            problems.append(
                f"activations.windows names {entry!r}, it must have the form network/condition, where * stands for any text in "
                f"the network and the condition is one of {', '.join(HARD)}"
            )
        elif condition not in params.tasks.conditions:
            problems.append(
                f"activations.windows names {entry!r}, but tasks.conditions does not name {condition}: its images would be found "
                "and never asked about; name it there, or take the entry out"
            )
    explained, n_images = params.tasks.n_tasks * params.tasks.n_explanations, params.images.generated.n
    if params.images.source == "generated" and params.tasks.source == "rebuilt":
        problems.extend(
            f"tasks.conditions names {name}, whose queries start at rank {n_images * HARD[name] // 100} of images.generated.n = "
            f"{n_images} images, but tasks.n_tasks * tasks.n_explanations = {explained} ranks explain; raise images.generated.n "
            f"to at least {-(-100 * explained // HARD[name])}, or take {name} out"
            for name in params.tasks.conditions
            if name in HARD and n_images * HARD[name] // 100 < explained
        )
    if params.tasks.source != "rebuilt" or params.activations.keep or params.activations.keep_file:
        return
    problems.extend(
        f"tasks.conditions names {name}, whose queries come from activations.windows, for all units of a network, or from whole "
        f"columns of values; but activations.windows has no entry like */{name}, and activations.keep and activations.keep_file "
        "name no unit"
        for name in params.tasks.conditions
        if name in HARD and name not in found
    )


def _check_recipe(training: Training, problems: list[str]) -> None:
    """Epochs and batches that the recipe A3 can have."""
    a3 = training.a3
    if not training.by_recipe:
        return
    if a3.warmup_epochs >= a3.epochs:
        problems.append(
            f"models.training.a3.warmup_epochs is {a3.warmup_epochs}, it must be below models.training.a3.epochs, {a3.epochs}"
        )
    if a3.batch_size % 2:
        problems.append(
            f"models.training.a3.batch_size is {a3.batch_size}, it must be even: Mixup takes images in pairs"
        )
    if a3.first_epoch == 1:
        problems.append(
            "models.training.a3.first_epoch is 1, it must be 0 (no checkpoint within the first epoch) or at least 2"
        )


def _check_likeness(group: Likeness, problems: list[str]) -> None:
    """Entries in their forms."""
    for entry in group.tables:
        parts = [part.strip() for part in entry.split("|")]
        if len(parts) < 3 or not all(parts) or len(set(parts[1:])) < len(parts[1:]):
            problems.append(
                f"stats.likeness.tables holds {entry!r}, it must read FILE|COLUMN OF NAMES|COLUMN, with any more columns of "
                "values behind further bars, each once"
            )
    problems.extend(
        f"stats.likeness.names holds {entry!r}, it must read NAME THERE=NAME IN THE ROSTER"
        for entry in group.names
        if not all(part.strip() for part in entry.rpartition("="))
    )


def _check_simulations(group: CrowdSimulation, problems: list[str]) -> None:
    """Worlds that there are, and lists that ascend."""
    for entry in group.worlds:
        setting, sign, guide = entry.partition("/")
        if not sign or setting not in SETTINGS or guide not in GUIDES:
            problems.append(
                f"crowd_simulation.worlds names {entry!r}; it must be setting/guide, a setting of {', '.join(SETTINGS)} and a "
                f"guide of {', '.join(GUIDES)}"
            )
    for name in ("budgets", "raters", "latent_budgets"):
        values = list(getattr(group, name))
        if values != sorted(values):
            problems.append(f"crowd_simulation.{name} is {values}, it must ascend")
    problems.extend(
        f"crowd_simulation.{name} is empty, it needs at least one entry"
        for name in ("budgets", "raters", "eta", "gamma", "alpha", "beta", "levels")
        if not getattr(group, name)
    )
    if 0 < group.n_images < LEAST_IMAGES:
        problems.append(f"crowd_simulation.n_images is {group.n_images}, it must be 0 or at least {LEAST_IMAGES}")


def _near(name: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, known, 3)
    return f", did you mean {' or '.join(found)}?" if found else ""


def _check_visualisations(group: Visualisations, problems: list[str]) -> None:
    """Units in the form of entries, and a diversity that is one."""
    problems.extend(
        f"visualisations.units names {entry!r}, it must have the form model/layer/unit, where * stands for any text"
        for entry in group.units
        if entry.count("/") != 2
    )
    try:
        diversity_of(group.diversity)
    except ValueError:
        problems.append(
            f"visualisations.diversity is {group.diversity!r}, it must be {ADAPTIVE}, or a number from 0 on in quotes: '0' is off"
        )


def _check_made_tasks(params: Params, problems: list[str]) -> None:
    """Tasks with made images need images to be made, and as many as a task shows."""
    named = [name for name in params.tasks.conditions if name in MADE]
    if not named:
        return
    if not params.visualisations.units:
        problems.append(
            f"tasks.conditions names {named[0]}, whose tasks show images made for units, but visualisations.units is empty; name "
            f"units there, or take {', '.join(named)} out of tasks.conditions"
        )
    elif params.visualisations.n_images < params.tasks.n_explanations:
        problems.append(
            f"visualisations.n_images is {params.visualisations.n_images}, but tasks.conditions names {named[0]}, whose tasks "
            f"show tasks.n_explanations = {params.tasks.n_explanations} images a side; raise visualisations.n_images to that"
        )


def _check_label_free(params: Params, problems: list[str]) -> None:
    """Samples of scores without labels inside each other, and within what is kept."""
    group = params.label_free
    if not group.models:
        return
    if group.n_images and group.n_range > group.n_images:
        problems.append(
            f"label_free.n_range is {group.n_range}, more than label_free.n_images, {group.n_images}, of which they are part"
        )
    if group.n_top > params.activations.n_extremes:
        problems.append(
            f"label_free.n_top is {group.n_top}, but activations.n_extremes keeps only {params.activations.n_extremes} images"
        )


def _check_kinds(params: Params, problems: list[str]) -> None:
    """Units written as elsewhere."""
    problems.extend(
        f"explanation_kinds.units names {entry!r}, it must have the form model/layer/unit, where * stands for any text"
        for entry in params.explanation_kinds.units
        if entry.count("/") != 2
    )


def _check_guide(guide: Guide, presence: str, others: str, problems: list[str]) -> None:
    """What a guide of each source asks for; `others` are the sources that need no exact presence."""
    if guide.source == "simulated" and presence != "factors":
        problems.append(
            f"{guide.key}.source is simulated, which needs exact presence, but explanations.presence is {presence}; "
            f"allowed here: {others}"
        )
    if guide.source == "simulated" and guide.calibration != "none":
        problems.append(
            f"{guide.key}.calibration is {guide.calibration}, but a simulated guide is calibrated by construction; set it "
            "to none"
        )
    if guide.source == "open_clip" and guide.template.count("*") != 1:
        problems.append(f"{guide.key}.template is {guide.template!r}, it must hold * once, where the concept stands")


def _check_second(texts: Explanations, problems: list[str]) -> None:
    """A second guide stands beside a first one, and is another."""
    first, second = texts.guide, texts.second_guide
    if second.source != "none" and first.source == "none":
        problems.append(
            f"{second.key}.source is {second.source}, but {first.key}.source is none, so there is no guide to stand "
            f"beside; name one there, or set {second.key}.source to none"
        )
    if first.source == second.source == "open_clip" and (first.model, first.pretrained) == (
        second.model,
        second.pretrained,
    ):
        problems.append(
            f"{second.key} names {second.model} with {second.pretrained}, as {first.key} does; name another network of "
            f"open_clip, such as ViT-gopt-16-SigLIP2-384, or set {second.key}.source to none"
        )


def _check_texts(params: Params, problems: list[str]) -> None:
    """Rules of texts: what says where concepts are must be there, and what is made must be made of something."""
    texts, guide, source = params.explanations, params.explanations.guide, params.images.source
    if source != "generated":
        for key, value in (("presence", texts.presence), ("n_known", texts.n_known)):
            if value == "factors" or (key == "n_known" and value):
                problems.append(
                    f"explanations.{key} is {value}, but images.source is {source}: only generated scenes have factors and "
                    f"planted units; allowed here: {'none, labels, guide, file' if key == 'presence' else '0'}"
                )
    if texts.presence == "guide" and guide.source == "none":
        problems.append("explanations.presence is guide, but explanations.guide.source is none; name open_clip or file")
    _check_guide(guide, texts.presence, "none, open_clip, file", problems)
    _check_guide(texts.second_guide, texts.presence, "none, open_clip", problems)
    _check_second(texts, problems)
    if texts.units and texts.make and texts.presence == "none":
        problems.append(
            "explanations.units names units for which texts are made, but explanations.presence is none, so there is nothing to "
            "make them of; set explanations.make to [] or name what says where concepts are"
        )
    if texts.units and texts.make and texts.holdout == 1:
        problems.append(
            "explanations.holdout is 1, so no image is left from which texts can be made; lower it, or set "
            "explanations.make to []"
        )
    if texts.units and "le_guide" in texts.make and guide.source == "none":
        problems.append(
            "explanations.make names le_guide, but explanations.guide.source is none; take it out, or name a guide"
        )
    problems.extend(
        f"explanations.make names {name!r}; there are {', '.join(MAKERS)}" for name in texts.make if name not in MAKERS
    )
    problems.extend(
        f"explanations.units names {entry!r}, it must have the form model/layer/unit, where * stands for any text"
        for entry in texts.units
        if entry.count("/") != 2
    )
    if params.crowd.design == "mg_is" and guide.source == "none":
        problems.append(
            "crowd.design is mg_is, which draws images by a guide, but explanations.guide.source is none; allowed "
            "here: systematic, adaptive, uniform, ag_is"
        )
