"""Files of codes: safetensors with tensors under the names of the fields of `Code`, and all else in one entry of JSON.

The entry `code` of the file's metadata is an object. Keys: `format` (1) and `activation`, which must be there, and k, order,
comparison, scaling, factor, decoder_norm, tokens, n_prefix, layer and source, without which the defaults of `Code` hold.
Tensors: encoder, which must be there, and bias, pre_bias, decoder, threshold, magnitude and gate_bias, of float32; float16,
bfloat16 and float64 become float32. Nothing else may be in the file.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interpretability.casts import fits
from interpretability.checkpoints import shown
from interpretability.directions.checks import AXES, check_code
from interpretability.directions.codes import Code
from interpretability.errors import InputError
from interpretability.files import atomic_path
from interpretability.weights import foreign_kind, plain

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
ENTRY = "code"
SUFFIX = ".safetensors"
KEYS = (
    "activation",
    "k",
    "order",
    "comparison",
    "scaling",
    "factor",
    "decoder_norm",
    "tokens",
    "n_prefix",
    "layer",
    "source",
)
_KINDS = ("F32", "F16", "BF16", "F64")


def read_code(path: str | os.PathLike[str]) -> Code:
    """The code that a file holds, float32 and on the CPU; nothing in the file is run.

    Raises InputError, which begins with the file's name, for a file that is not there or is no safetensors; an entry, key or
    tensor that is missing or not known (with the name that may be meant); sizes that do not agree; a value that is not finite
    or that float32 does not hold, with its place; and whatever else `checks.check_code` refuses.
    """
    path = Path(path)
    try:
        tensors, metadata = _content(path)
        code = Code(**_tensors(tensors), **_settings(metadata))
        check_code(code)
    except InputError as error:
        raise InputError(f"{shown(path.name)}: {error}") from None
    return code


def write_code(code: Code, path: str | os.PathLike[str]) -> None:
    """Write a code as such a file, whole or not at all; equal codes give equal bytes.

    Raises InputError for a code that `checks.check_code` refuses, and for a name that does not end in .safetensors.
    """
    from safetensors.torch import save_file

    path = Path(path)
    check_code(code)
    if path.suffix != SUFFIX:
        raise InputError(f"{shown(path.name)}: the name of a file of a code must end in {SUFFIX}")
    tensors = {
        # a copy of its own, because safetensors refuses tensors that share memory
        name: tensor.detach().cpu().contiguous().clone()
        for name in AXES
        if (tensor := getattr(code, name)) is not None
    }
    settings = {"format": FORMAT, **{key: getattr(code, key) for key in KEYS}}
    with atomic_path(path) as part:
        # one entry only: the order of several would differ from run to run
        save_file(tensors, part, metadata={ENTRY: json.dumps(settings, sort_keys=True)})


def _content(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file, its tensors' names and kinds looked at before their values."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError("there is no such file")
    with open(path, "rb") as file:
        kind = foreign_kind(file.read(64))
    if kind:
        raise InputError(f"it is {kind}; a code is a safetensors file. python -m tools.convert_code makes one")
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            _refuse_unknown(names, AXES, "tensor")
            for name in names:
                if (stored := file.get_slice(name).get_dtype()) not in _KINDS:
                    raise InputError(f"{name} is of type {shown(stored)}; it must be one of {', '.join(_KINDS)}")
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"it is no whole safetensors file ({plain(error)}); files of other libraries become one by "
            "python -m tools.convert_code"
        ) from None


def _tensors(stored: dict[str, Tensor]) -> dict[str, Any]:
    if "encoder" not in stored:
        raise InputError("the tensor encoder (latents, width) is missing")
    return {name: as_float32(tensor, name) for name, tensor in stored.items()}


def as_float32(tensor: Tensor, name: str) -> Tensor:
    """The same numbers as float32. Raises InputError with the place of a finite one that float32 does not hold."""
    import torch

    if tensor.dtype == torch.float64:
        # NaN and infinite values pass here, and are refused with their place by check_code
        wrong_ones = np.argwhere(~np.atleast_1d(fits(tensor.numpy(), "float32")))
        if len(wrong_ones):
            place = wrong_ones[0].tolist()
            value = np.atleast_1d(tensor.numpy())[tuple(place)]
            raise InputError(f"{name} holds {value} at {place}, which float32 does not hold")
    return tensor.to(torch.float32)


def _settings(metadata: dict[str, str]) -> dict[str, Any]:
    """Fields of a code that are no tensors."""
    if ENTRY not in metadata:
        raise InputError(
            f"its metadata lacks the entry {ENTRY}, so nothing says what its tensors mean. A file of another library becomes "
            "a code by python -m tools.convert_code"
        )
    _refuse_unknown(metadata, [ENTRY], "entry of metadata")
    try:
        settings = json.loads(metadata[ENTRY], object_pairs_hook=_once)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"the entry {ENTRY} of its metadata is no JSON ({plain(error)})") from None
    if not isinstance(settings, dict):
        raise InputError(f"the entry {ENTRY} of its metadata must be an object of JSON, {{...}}")
    _refuse_unknown(settings, ("format", *KEYS), "key")
    for key in ("format", "activation"):
        if key not in settings:
            raise InputError(f"the key {key} is missing from the entry {ENTRY} of its metadata")
    stated = settings.pop("format")
    if isinstance(stated, bool) or stated != FORMAT:
        raise InputError(f"its format is {shown(repr(stated))}; this version reads format {FORMAT}")
    return settings


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise InputError(f"the key {shown(twice)} stands twice in the entry {ENTRY} of its metadata")
    return dict(pairs)


def _refuse_unknown(names: Iterable[str], allowed: Iterable[str], what: str) -> None:
    allowed = list(allowed)
    for name in names:
        if name not in allowed:
            near = difflib.get_close_matches(name[:100], allowed, 1)
            meant = f"; {near[0]} may be meant" if near else ""
            raise InputError(f"the {what} {shown(name)} is not known{meant}. Allowed: {', '.join(allowed)}")
