"""Networks constructed by their roster row; weights are read without running code in them."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from interpretability.casts import fits
from interpretability.files import sha256_file
from interpretability.weights import load_state
from study.environment import WEIGHTS, Environment
from study.errors import StudyError
from study.networks.roster import RosterRow

if TYPE_CHECKING:
    from torch import nn

    from interpretability.networks.network import Network


def load_network(row: RosterRow, models: Path, code: Path, seed: int) -> Network:
    """The network of a resolved roster row; `models` is the out of the models stage."""
    from interpretability.networks.network import Network, initialised
    from interpretability.networks.preprocessing import Preprocessing

    # the initial weights of an untrained row come from its own name and the seed
    model = build_network(
        row, code, models / "weights", lambda construct: initialised(construct, seed, str(row["name"]))
    )
    preprocessing = Preprocessing.parse(row["preprocessing"] or resolve_preprocessing(row, model), str(row["name"]))
    return Network(str(row["name"]), model, preprocessing, state_digest(model))


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
    if spec is None or spec.loader is None:
        raise StudyError(f"{path} is no Python file that can be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def code_digest(row: RosterRow, code: Path) -> str:
    """Digest of the file behind a constructor `module:function`, empty for timm's and torchvision's names."""
    name, mark, _ = str(row["constructor"]).partition(":")
    if not mark:
        return ""
    path = code / f"{name.replace('.', '/')}.py"
    if not path.is_file():
        path = Path(user_module(name, code).__file__ or "")
    return sha256_file(path) if path.is_file() else name


def constructor(row: RosterRow, code: Path) -> Callable[..., nn.Module]:
    """The callable behind `constructor`: `module:function`, a timm name, or a torchvision name."""
    import timm
    import torchvision

    text = str(row["constructor"])
    if ":" in text:
        module_name, _, function = text.partition(":")
        construct = getattr(user_module(module_name, code), function, None)
        if not callable(construct):
            raise StudyError(f"{row['name']}: module {module_name} has no function {function!r}")
        return cast("Callable[..., nn.Module]", construct)
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


def weights_file(row: RosterRow, folder: Path) -> Path:
    """File of the weights of a row: trained ones lie in `folder`, others are relative to MIS_WEIGHTS or to here."""
    if row["weights"] == "trained":
        return folder / f"{row['name']}.safetensors"
    return user_file(str(row["weights"]))


def user_file(name: str) -> Path:
    """A file named by the user: absolute, or relative to MIS_WEIGHTS, or to the repository."""
    folder = Environment.read().weights
    for path in (*([folder / name] if folder != WEIGHTS else []), Path(name), WEIGHTS / name):
        if path.is_file():
            return path
    raise StudyError(
        f"file {name} does not exist (looked in MIS_WEIGHTS, here and in data/external/weights); put it into one of "
        "them, or correct its name in the roster"
    )


def build_network(
    row: RosterRow, code: Path, weights: Path | None, make: Callable[[Callable[[], nn.Module]], nn.Module]
) -> nn.Module:
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


def resolve_preprocessing(row: RosterRow, model: nn.Module) -> dict[str, Any]:
    """Preprocessing of a row without one, from timm's or torchvision's own record of the network."""
    import torchvision

    from interpretability.networks.preprocessing import timm_preprocessing

    if getattr(model, "pretrained_cfg", None):
        # a network made for another size than its weights were trained at is shown images of that size
        asked = json.loads(row["kwargs"] or "{}").get("img_size")
        return timm_preprocessing(model, asked if isinstance(asked, int) else None)
    if row["constructor"] in torchvision.models.list_models():
        weights: Any = torchvision.models.get_model_weights(row["constructor"])
        record = weights.DEFAULT.transforms()
        return {
            "crop": record.crop_size[0],
            "resize": record.resize_size[0],
            "interpolation": record.interpolation.value,
            "mean": list(record.mean),
            "std": list(record.std),
        }
    raise StudyError(
        f"{row['name']}: preprocessing is empty, and neither timm nor torchvision knows it; write it as JSON"
    )


def state_digest(model: nn.Module) -> str:
    """Digest of all weights and buffers by name: what the network computes, whatever file it came from."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        raw = value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode() + raw.tobytes())
    return digest.hexdigest()


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
    right = np.isfinite(matrix) & fits(matrix, np.float32)
    if not right.all():
        row, column = np.argwhere(~right)[0]
        raise StudyError(
            f"{path.name} holds {matrix[row, column]} at row {row}, column {column}; all numbers must be finite, also in float32"
        )
    return matrix.astype(np.float32)


def parse_directions(text: str) -> tuple[str, Path]:
    """Layer and matrix file of a `directions` entry LAYER=FILE.npy."""
    layer, mark, name = text.partition("=")
    if not mark or not layer or not name.endswith(".npy"):
        raise StudyError(f"directions is {text!r}, it must read LAYER=FILE.npy")
    return layer, user_file(name)
