"""Rosters and the networks in them: reading, checking, constructing and loading weights without running code in them."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.errors import StudyError
from stages.pipeline.tables import read_csv, sha256_file

COLUMNS = [
    "name", "constructor", "kwargs", "weights", "sha256", "preprocessing", "role", "series", "step", "top1", "directions",
    "taps", "licence", "family",
]  # fmt: skip
RESOLVED = [*COLUMNS, "last", "n_params", "input_size"]
NUMBERS = ("step", "top1", "last", "n_params", "input_size")
TAPS = ("imi",)  # sets of rules in stages/science/taps.py
ROLES = ("study", "similarity", "control")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_NUMBER = re.compile(r"-?\d+(\.\d*)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def read_roster(path: str | os.PathLike[str]) -> pd.DataFrame:
    """A roster with the columns of COLUMNS; every row checked. Raises StudyError naming file, row and value.

    Missing numbers are NaN, everything else is text, also a network called 50.
    """
    frame = read_csv(path, ["name", "constructor"], text=RESOLVED)
    unknown = [name for name in frame.columns if name not in RESOLVED]
    if unknown:
        raise StudyError(f"{path}: unknown column {', '.join(unknown)}; allowed: {', '.join(COLUMNS)}")
    for name in COLUMNS:
        if name not in frame.columns:
            frame[name] = "study" if name == "role" else "none" if name == "weights" else ""
    if frame.empty:
        raise StudyError(f"{path} has no rows; give at least one network")
    problems = []
    for i, row in enumerate(frame.to_dict("records")):
        where = f"row {i + 2} ({row['name']})"
        if not _NAME.fullmatch(str(row["name"])):
            problems.append(
                f"{where}: name may hold letters, digits and . _ + - only, and starts with a letter or digit"
            )
        if row["role"] not in ROLES:
            problems.append(f"{where}: role is {row['role']!r}, allowed: {', '.join(ROLES)}")
        if row["taps"] and row["taps"] not in TAPS:
            problems.append(f"{where}: taps is {row['taps']!r}, allowed: {', '.join(TAPS)}, or empty")
        try:
            if not isinstance(json.loads(row["kwargs"] or "{}"), dict):
                raise ValueError
        except ValueError:
            problems.append(f'{where}: kwargs {row["kwargs"]!r} is no JSON object such as {{"num_classes": 10}}')
        if row["weights"] not in ("hub", "none", "trained") and not row["sha256"]:
            problems.append(
                f"{where}: weights is {row['weights']!r}, which is read as a file, so sha256 is needed (sha256sum "
                f"{row['weights']}); otherwise allowed: hub, none, trained"
            )
        problems += [
            f"{where}: {number} is {row[number]!r}, it must be a number or empty"
            for number in NUMBERS
            if row.get(number) and not _NUMBER.fullmatch(row[number])
        ]
    for name in sorted(frame["name"][frame["name"].duplicated()].unique()):
        rows = ", ".join(str(i + 2) for i in np.flatnonzero(frame["name"] == name))
        problems.append(f"name {name!r} stands in rows {rows}; every network needs a name of its own")
    if problems:
        raise StudyError(f"{path}:\n  " + "\n  ".join(problems))
    for name in frame.columns.intersection(NUMBERS):
        frame[name] = pd.to_numeric(frame[name])
    return frame


def is_planted(row: Mapping[str, Any]) -> bool:
    """Whether a roster row is a computed control rather than a network."""
    return str(row["constructor"]).startswith("control:")


def base(row: Mapping[str, Any]) -> str:
    """Name of the network behind a permuted control; empty for any other."""
    return str(json.loads(row["kwargs"] or "{}").get("of", ""))


def user_module(name: str, code: Path) -> ModuleType:
    """A module from the user's code folder, else from the environment."""
    path = code / f"{name.replace('.', '/')}.py"
    if not path.is_file():
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # the module is there, but lacks another one
            raise StudyError(
                f"module {name} is neither at {path} nor installed; put {path.name} there or correct the constructor"
            ) from None
    spec = importlib.util.spec_from_file_location(f"user_code.{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def code_digest(row: Mapping[str, Any], code: Path) -> str:
    """Digest of the file behind a constructor `module:function`, empty for timm's and torchvision's names."""
    name, mark, _ = str(row["constructor"]).partition(":")
    if not mark:
        return ""
    path = code / f"{name.replace('.', '/')}.py"
    if not path.is_file():
        path = Path(user_module(name, code).__file__ or "")
    return sha256_file(path) if path.is_file() else name


def constructor(row: Mapping[str, Any], code: Path) -> Callable[..., Any]:
    """The callable behind `constructor`: `module:function`, a timm name, or a torchvision name."""
    import timm
    import torchvision

    text = str(row["constructor"])
    if ":" in text:
        module_name, _, function = text.partition(":")
        found = getattr(user_module(module_name, code), function, None)
        if not callable(found):
            raise StudyError(f"{row['name']}: module {module_name} has no function {function!r}")
        return found
    architecture = text.split(".")[0]
    if timm.is_model(architecture):
        return lambda **kwargs: timm.create_model(text, **kwargs)
    if text in torchvision.models.list_models():
        return lambda pretrained=False, **kwargs: torchvision.models.get_model(
            text, weights="DEFAULT" if pretrained else None, **kwargs
        )
    raise StudyError(
        f"{row['name']}: constructor {text!r} is no timm name, no torchvision name and not of the form module:function"
    )


def family(row: Mapping[str, Any]) -> str:
    """Networks of one family are no independent draws: the roster's word, else the module of timm or torchvision that
    builds the network (resnet, vision_transformer), else its constructor."""
    import timm
    import torchvision

    text = str(row["constructor"])
    if row["family"] or is_planted(row):
        return str(row["family"])
    if ":" in text:
        return text
    if timm.is_model(text.split(".")[0]):
        builder = timm.models.model_entrypoint(text.split(".")[0])
    elif text in torchvision.models.list_models():
        builder = torchvision.models.get_model_builder(text)
    else:
        return text
    return str(builder.__module__).rpartition(".")[2]


def weights_file(row: Mapping[str, Any], folder: Path) -> Path:
    """File of the weights of a row: trained ones lie in `folder`, others are relative to MIS_WEIGHTS or to here."""
    if row["weights"] == "trained":
        return folder / f"{row['name']}.safetensors"
    return given_file(str(row["weights"]))


def given_file(name: str) -> Path:
    """A file named by the user: absolute, or relative to MIS_WEIGHTS, or to the repository."""
    places = [Path(os.environ[variable]) / name for variable in ("MIS_WEIGHTS",) if os.environ.get(variable)]
    places += [Path(name), Path("data/external/weights") / name]
    for path in places:
        if path.is_file():
            return path
    raise StudyError(
        f"file {name} does not exist (looked in MIS_WEIGHTS, here and in data/external/weights); put it into one of "
        "them, or correct its name in the roster"
    )


def load_state(path: Path) -> dict[str, Any]:
    """Tensors of a checkpoint: safetensors, or a torch file read without running code in it."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise StudyError(f"{path.name} is no whole safetensors file ({error}); download it again") from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds; all mean that the file is no plain checkpoint
        text = " ".join(str(error).split())[:200]
        raise StudyError(
            f"{path.name} cannot be read as a plain table of tensors ({text}). Files that need code to load are refused; "
            "save it again with safetensors.torch.save_file(model.state_dict(), ...)"
        ) from None
    for name in ("state_dict", "model", "state_dict_ema"):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise StudyError(f"{path.name} holds no table of named tensors; save model.state_dict() instead")
    return {name.removeprefix("module."): value for name, value in content.items()}


def build(row: Mapping[str, Any], code: Path, weights: Path | None, make: Callable[..., Any]) -> Any:
    """The network of a roster row on the CPU, in evaluation mode, with its weights.

    weights: folder of the trained checkpoints, None to leave a network that is to be trained at its initial weights.
    `make(construct)` builds a network with keyed initial weights.
    Raises StudyError for a missing file, another digest, weights that do not fit, or an unreachable hub.
    """
    kwargs = json.loads(row["kwargs"] or "{}")
    construct = constructor(row, code)
    if row["weights"] == "hub":
        try:
            return construct(pretrained=True, **kwargs).eval()
        except (OSError, RuntimeError) as error:
            text = " ".join(str(error).split())[:200]
            raise StudyError(
                f"{row['name']}: the weights of {row['constructor']} could not be fetched from their hub ({text}). Connect "
                "once (they stay in the cache folder, HF_HOME or TORCH_HOME), or download the file and write its path "
                "and sha256 into the roster"
            ) from None
    model = make(lambda: construct(**kwargs))
    if row["weights"] == "none" or weights is None:
        return model.eval()
    path = weights_file(row, weights)
    digest = sha256_file(path)
    if row["sha256"] and digest != row["sha256"].lower():
        raise StudyError(
            f"{row['name']}: {path.name} has sha256 {digest}, the roster says {row['sha256']}; it is another file. "
            "Download it again, or write the new digest into the roster if you mean this one"
        )
    state = load_state(path)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        misfits = [line.strip() for line in str(error).splitlines()[1:]]
        shown = " ".join(line if len(line) < 200 else f"{line[:200]}..." for line in misfits[:2])
        raise StudyError(
            f"{row['name']}: {path.name} does not fit {row['constructor']}: {shown} ({len(misfits)} misfits in all). "
            "Correct the constructor, its kwargs or the file in the roster"
        ) from None
    return model.eval()


def resolve_preprocessing(row: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Preprocessing of a row without one, from timm's or torchvision's own record of the network."""
    import torchvision
    from timm.data import resolve_data_config

    if getattr(model, "pretrained_cfg", None):
        # a network made for another size than its weights were trained at is shown pictures of that size
        asked = json.loads(row["kwargs"] or "{}").get("img_size")
        found = resolve_data_config({"img_size": asked} if isinstance(asked, int) else {}, model=model)
        crop, squash = found["input_size"][1], found["crop_mode"] == "squash"
        return {
            "crop": crop,
            "resize": crop if squash else int(crop / found["crop_pct"]),
            "interpolation": found["interpolation"],
            "mean": list(found["mean"]),
            "std": list(found["std"]),
            "mode": "squash" if squash else "border" if found["crop_pct"] > 1 else "center",
        }
    if row["constructor"] in torchvision.models.list_models():
        found = torchvision.models.get_model_weights(row["constructor"]).DEFAULT.transforms()  # type: ignore[attr-defined]
        return {
            "crop": found.crop_size[0], "resize": found.resize_size[0], "interpolation": found.interpolation.value,
            "mean": list(found.mean), "std": list(found.std),
        }  # fmt: skip
    raise StudyError(
        f"{row['name']}: preprocessing is empty, and neither timm nor torchvision knows it; write it as JSON"
    )


def state_digest(model: Any) -> str:
    """Digest of all weights and buffers by name: what the network computes, whatever file it came from."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        raw = value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode() + raw.tobytes())
    return digest.hexdigest()


def parse_directions(text: str) -> tuple[str, Path]:
    """Layer and matrix file of a `directions` entry LAYER=FILE.npy."""
    layer, mark, name = text.partition("=")
    if not mark or not layer or not name.endswith(".npy"):
        raise StudyError(f"directions is {text!r}, it must read LAYER=FILE.npy")
    return layer, given_file(name)


def load_directions(path: Path, layer: str, width: int) -> NDArray[np.float32]:
    """Matrix (width, directions) whose columns are units; numbers only, no pickled objects."""
    try:
        matrix = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise StudyError(f"{path.name} is no array of plain numbers ({error}); save it with numpy.save") from None
    if not isinstance(matrix, np.ndarray):
        raise StudyError(f"{path.name} is an archive of several arrays; save one matrix with numpy.save")
    if matrix.ndim != 2 or matrix.shape[0] != width or not np.issubdtype(matrix.dtype, np.floating):
        raise StudyError(
            f"{path.name} holds {matrix.dtype} of shape {matrix.shape}; layer {layer} needs floating-point numbers of shape "
            f"({width}, number of directions)"
        )
    if not np.isfinite(matrix).all():
        place, column = np.argwhere(~np.isfinite(matrix))[0]
        raise StudyError(
            f"{path.name} holds {matrix[place, column]} at row {place}, column {column}; all numbers must be finite"
        )
    return matrix.astype(np.float32)
