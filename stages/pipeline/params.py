"""Typed `params.yaml`: every key known, every value of its type and inside its range, or an error before any work."""

from __future__ import annotations

import dataclasses
import difflib
import os
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.errors import StudyError

_SIMILARITIES = Path(__file__).resolve().parent.parent / "science" / "similarity"  # one file a family
_MAPPED_EXPLANATIONS = 9  # explanations a side of the tasks that people of the IMI record saw
LAYER_TYPES = ("Conv", "Linear", "BatchNorm", "LayerNorm", "GroupNorm", "Other")


def number(low: float | None = None, high: float | None = None, *, above: float | None = None) -> Any:
    """A number with low <= value <= high, and value > above."""
    return field(metadata={"low": low, "high": high, "above": above})


def one_of(*choices: str) -> Any:
    return field(metadata={"choices": choices})


def filled() -> Any:
    """Text that may not be empty, or a list with at least one entry."""
    return field(metadata={"filled": True})


@dataclass(frozen=True)
class Generated:
    """Pictures of the synthetic study."""

    n: int = number(1)
    size: int = number(32, 512)
    n_categories: int = number(2, 1000)


@dataclass(frozen=True)
class Images:
    """Where the pictures come from."""

    source: str = one_of("generated", "folder", "tar", "timm")
    root: str = field()
    reader: str = field()
    split: str = field()
    max_rejected: float = number(0, 1)
    generated: Generated = field()


@dataclass(frozen=True)
class Training:
    """Networks trained inside the pipeline."""

    epochs: int = number(1, 1000)
    batch_size: int = number(1)
    learning_rate: float = number(above=0)
    n_validation: int = number(1)
    n_encoder: int = number(1)


@dataclass(frozen=True)
class Models:
    """The roster and what may be wrong with it."""

    roster: str = filled()
    max_failed: float = number(0, 1)
    training: Training = field()


@dataclass(frozen=True)
class Units:
    """Which outputs of a network are units, and where they are read."""

    layer_types: tuple[str, ...] = one_of(*LAYER_TYPES)
    drop_first_last: bool = field()
    linear: str = one_of("all", "blocks")
    norm_act: str = one_of("before", "after")


@dataclass(frozen=True)
class Activations:
    """What is kept of a unit's values."""

    n_extremes: int = number(2)
    batch_size: int = number(1, 4096)
    precision: str = one_of("float32", "float16", "bfloat16")
    pack: int = number(0, 1024)
    max_failed: float = number(0, 1)
    keep: tuple[str, ...] = field()
    keep_file: str = field()


@dataclass(frozen=True)
class Tasks:
    """Two-alternative tasks of a unit."""

    n_tasks: int = number(2)
    n_explanations: int = number(1)
    conditions: tuple[str, ...] = one_of("natural", "hard99", "hard95", "hard85")
    source: str = one_of("rebuilt", "imi")


@dataclass(frozen=True)
class Encoder:
    """The network behind the backend `encoder`."""

    model: str = field()
    layer: str = field()


@dataclass(frozen=True)
class DreamSim:
    """The picture that DreamSim sees."""

    view: str = one_of("crop", "squash")


@dataclass(frozen=True)
class Scores:
    """Similarities that solve the tasks."""

    backends: tuple[str, ...] = filled()
    near_duplicate: float = number(-1, 1)
    aggregation: str = one_of("mean", "max", "median", "softmax")
    softmax_temperature: float = number(above=0)
    precision: str = one_of("float32", "float16")
    feature_size: int = number(32, 256)
    feature_models: tuple[str, ...] = field()
    dreamsim: DreamSim = field()
    encoder: Encoder = field()


@dataclass(frozen=True)
class Mis:
    drop_near_duplicates: bool = field()


@dataclass(frozen=True)
class Simulated:
    """Simulated observers."""

    n_units: int = number(2)
    n_responses: int = number(1)
    n_trials: int = number(1)
    slope: float = number(above=0)
    slope_spread: float = number(0, 5)
    lapse: float = number(0, 0.99)
    ignored_factor: str = field()


@dataclass(frozen=True)
class Imi:
    """Files of the IMI record, by their place in data/external/human."""

    responses: tuple[str, ...] = filled()
    image_map: str = field()


@dataclass(frozen=True)
class AnswerTable:
    """Any table of answers: where it is and how its columns are called."""

    file: str = field()
    model: str = field()
    columns: tuple[str, ...] = field()
    keep: tuple[str, ...] = field()
    conditions: tuple[str, ...] = field()


@dataclass(frozen=True)
class Checks:
    """Sessions of the IMI record that count; bounds are inclusive."""

    max_demo_blocks: int = number(1)
    min_catch_share: float = number(0, 1)
    min_seconds: float = number(0)
    max_seconds: float = number(0)
    min_row: int = number(0)
    min_instruction_seconds: float = number(0)
    multi_participation: str = one_of("recomputed", "stored", "ignore")


@dataclass(frozen=True)
class Human:
    """Human answers."""

    source: str = one_of("none", "simulated", "imi", "table")
    simulated: Simulated = field()
    imi: Imi = field()
    table: AnswerTable = field()
    checks: Checks = field()


@dataclass(frozen=True)
class Calibration:
    fraction: float = number(0, 1, above=0)
    min_units: int = number(2)
    allow_few: bool = field()
    objective: str = one_of("squared_error", "moments")
    default_slope: float = number(above=0)
    n_bootstrap: int = number(10)
    n_splits: int = number(0)


@dataclass(frozen=True)
class Ceiling:
    n_simulations: int = number(10)


@dataclass(frozen=True)
class Sensitivity:
    """Other settings for which tasks are rebuilt."""

    models: tuple[str, ...] = field()
    n_units: int = number(2)
    n_tasks: tuple[int, ...] = number(1)
    n_explanations: tuple[int, ...] = number(1)
    slopes: tuple[float, ...] = number(above=0)
    map_models: tuple[str, ...] = field()
    map_images: int = number(1)


@dataclass(frozen=True)
class Stats:
    n_bootstrap: int = number(100)
    confidence: float = number(0.5, 0.999)
    n_extreme: int = number(1)


@dataclass(frozen=True)
class Report:
    title: str = filled()
    show_images: bool = field()
    n_exemplars: int = number(0, 50)
    n_full_tasks: int = number(1, 100)
    n_pictures: int = number(0, 10_000)
    thumbnail: int = number(32, 160)
    n_units: int = number(0, 100_000)


@dataclass(frozen=True)
class Params:
    """The whole of `params.yaml`."""

    seed: int = number(0, 2**63 - 1)
    images: Images = field()
    models: Models = field()
    units: Units = field()
    activations: Activations = field()
    tasks: Tasks = field()
    scores: Scores = field()
    mis: Mis = field()
    human: Human = field()
    calibration: Calibration = field()
    ceiling: Ceiling = field()
    sensitivity: Sensitivity = field()
    stats: Stats = field()
    report: Report = field()


def load_params(path: str | os.PathLike[str]) -> Params:
    """Parameters of the study from a YAML 1.2 file.

    Raises StudyError with every problem found, each naming its key, its value and what is allowed.
    """
    try:
        content = YAML(typ="safe").load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file. Copy one of studies/*.yaml there.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is not valid YAML: {error}") from None
    problems: list[str] = []
    params = _build(Params, content, "", problems)
    if not problems:
        _check_together(params, problems)
    if problems:
        raise StudyError(
            f"{path}: " + "; ".join(problems) if len(problems) == 1 else f"{path}:\n  " + "\n  ".join(problems)
        )
    return params


def keys(kind: type = Params, prefix: str = "") -> list[str]:
    """Every key of params.yaml in dotted form, in order."""
    found: list[str] = []
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            found += keys(typing.cast(type, hint), f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


def _build(kind: type, content: Any, prefix: str, problems: list[str]) -> Any:
    if not isinstance(content, dict):
        problems.append(f"{prefix.rstrip('.') or 'the file'} is {content!r}, it must hold keys and values")
        return None
    hints = typing.get_type_hints(kind)
    for name in content:
        if name not in hints:
            close = difflib.get_close_matches(str(name), hints, n=1)
            hint = f", did you mean {prefix}{close[0]}?" if close else ""
            problems.append(f"{prefix}{name} is not a known key{hint} (known here: {', '.join(hints)})")
    values = {}
    for spec in dataclasses.fields(kind):
        key = prefix + spec.name
        if spec.name not in content:
            problems.append(f"{key} is missing; studies/synthetic.yaml shows every key")
            continue
        hint, value = hints[spec.name], content[spec.name]
        if dataclasses.is_dataclass(hint):
            values[spec.name] = _build(typing.cast(type, hint), value, f"{key}.", problems)
        else:
            values[spec.name] = _value(hint, value, key, spec.metadata, problems)
    return kind(**values) if not problems else None


def _value(hint: Any, value: Any, key: str, rule: typing.Mapping[str, Any], problems: list[str]) -> Any:
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if not isinstance(value, list):
            problems.append(f"{key} is {value!r}, it must be a list of {_TYPE_NAMES[item]}")
            return ()
        if rule.get("filled") and not value:
            problems.append(f"{key} is empty, it needs at least one entry")
        doubled = {str(entry) for entry in value if value.count(entry) > 1}
        problems.extend(f"{key} names {entry} twice" for entry in sorted(doubled))
        return tuple(_value(item, entry, f"{key}[{i}]", rule, problems) for i, entry in enumerate(value))
    right = isinstance(value, int | float) if hint is float else isinstance(value, hint)
    if not right or (isinstance(value, bool) and hint is not bool):
        quotes = f", write it in quotes: '{'null' if value is None else value}'" if hint is str else ""
        problems.append(f"{key} is {value!r} ({type(value).__name__}), it must be {_TYPE_NAMES[hint]}{quotes}")
        return value
    if hint is float:
        value = float(value)
    low, high, above, choices = (rule.get(name) for name in ("low", "high", "above", "choices"))
    # written so that NaN fails every comparison
    if low is not None and not value >= low:
        problems.append(f"{key} is {value}, it must be at least {low}")
    if high is not None and not value <= high:
        problems.append(f"{key} is {value}, it must be at most {high}")
    if above is not None and not (value > above and value != float("inf")):
        problems.append(f"{key} is {value}, it must be a finite number above {above}")
    if choices and value not in choices:
        problems.append(f"{key} is {value!r}, allowed: {', '.join(choices)}")
    if rule.get("filled") and value == "":
        problems.append(f"{key} is empty")
    return value


_TYPE_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    types.NoneType: "nothing",
}


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
    hard = [name for name in params.tasks.conditions if name != "natural"]
    if hard and params.tasks.source == "rebuilt" and not (params.activations.keep or params.activations.keep_file):
        problems.append(
            f"tasks.conditions names {hard[0]}, whose queries come from whole columns of values, but "
            "activations.keep and activations.keep_file name no unit"
        )
    if params.tasks.source == "imi":
        place = Path(params.human.imi.image_map)
        if place.parts[:1] != ("image_data",) or ".." in place.parts:
            problems.append(
                f"tasks.source is imi, but human.imi.image_map is {params.human.imi.image_map!r}; name the map of images, "
                "which must lie in data/external/human/image_data, as image_data/imagenet_exemplars_file_map.json"
            )
        if n_explanations != _MAPPED_EXPLANATIONS:
            problems.append(
                f"tasks.source is imi, but tasks.n_explanations is {n_explanations}; the map holds tasks of "
                f"{_MAPPED_EXPLANATIONS} explanations a side, so it must be {_MAPPED_EXPLANATIONS}"
            )
    families = sorted(path.stem for path in _SIMILARITIES.glob("*.py") if path.stem not in ("__init__", "base"))
    problems.extend(
        f"scores.backends names {name!r}, which is no similarity; there are {', '.join(families)} (a variant follows a dash)"
        for name in params.scores.backends
        if name.split("-")[0] not in families
    )
    if "encoder" in params.scores.backends and not params.scores.encoder.model:
        problems.append(
            "scores.encoder.model is empty, but scores.backends names encoder; give the roster name of a network"
        )
    if params.human.source == "simulated" and params.images.source != "generated":
        problems.append(
            "human.source is simulated, but images.source is not generated: simulated observers see the factors from "
            "which the scenes are drawn; allowed here: none, imi, table"
        )
    if params.human.source == "table" and not params.human.table.file:
        problems.append(
            "human.source is table, but human.table.file is empty; give the name of a file in data/external/human"
        )
    for group in ("columns", "keep", "conditions"):
        for entry in getattr(params.human.table, group):
            name, sign, value = entry.partition("=")
            if not (name and sign and value):
                problems.append(f"human.table.{group} holds {entry!r}, it must have the form name=value")
    if params.report.thumbnail % 16:
        problems.append(
            f"report.thumbnail is {params.report.thumbnail}, it must be a multiple of 16: thumbnails share JPEG sheets, whose "
            "blocks have 16 pixels"
        )
    checks = params.human.checks
    if checks.min_seconds > checks.max_seconds:
        problems.append(
            f"human.checks.min_seconds is {checks.min_seconds:g}, above human.checks.max_seconds {checks.max_seconds:g}"
        )
