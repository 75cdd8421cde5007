"""overcomplete (KempnerInstitute/overcomplete): a state dict in one file. Whole models that torch.save pickled are refused.

With h = W x + b, the encoder's one linear map, into which its batch norm is folded where it has one:
SAE            relu(h)
TopKSAE        relu(h), of which the k largest; k is not in the file
BatchTopKSAE   relu(h) where relu(h) >= running_threshold, which is not in the file
JumpSAE        relu(h) where relu(h) >= exp(thresholds)
RATopKSAE and RAJumpSAE encode as TopKSAE and JumpSAE.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpretability.checkpoints import shown, sole_table
from interpretability.errors import InputError
from interpretability.weights import read_content
from study.errors import StudyError
from study.networks.foreign_codes.contents import Converted, Tensors, find_file, listed
from study.networks.foreign_codes.options import Options
from study.networks.foreign_codes.shared import built, finished, layer_of

if TYPE_CHECKING:
    from torch import Tensor

WHAT = "an autoencoder of overcomplete"
CLASSES = ("SAE", "TopKSAE", "BatchTopKSAE", "JumpSAE", "RATopKSAE", "RAJumpSAE")
_JUMPS = ("JumpSAE", "RAJumpSAE")
_EPS = 1e-5  # of its batch norm, which no option changes
_FINAL = "encoder.final_block"
_TIED = "encoder.tied_to"
_NORM = f"{_FINAL}.1"


def convert(path: Path, options: Options) -> Converted:
    """The code of a file of weights, or of the one in a folder."""
    file = find_file(path, ("*.pt", "*.pth", "*.safetensors"), WHAT)
    try:
        content = read_content(file)
    except InputError as error:
        raise StudyError(
            f"{error}. A whole model of overcomplete becomes a table of tensors where the library is installed: "
            "torch.save(torch.load(FILE, weights_only=False).state_dict(), OTHER)"
        ) from None
    tensors = Tensors(sole_table(content, file.name), str(file))
    kind = _kind(tensors, options)
    encoder, bias, notes = _encoder(tensors)
    decoder, said = _decoder(tensors)
    fields, threshold = _activation(kind, tensors, options)
    layer, where = layer_of("", options)
    code = built(
        str(file),
        f"overcomplete {kind}: {shown(file.name)}",
        options,
        layer,
        {"encoder": encoder, "bias": bias, "decoder": decoder, "threshold": threshold},
        "all",
        **fields,
    )
    return finished(code, [*notes, *said, *where], tensors, kind, options)


def _kind(tensors: Tensors, options: Options) -> str:
    given = options.take("class")
    if "Q" in tensors:
        raise StudyError(f"{tensors.where}: Q is of QSAE, whose values are quantised; that is not converted")
    if not tensors.any_under("encoder."):
        if tensors.any_under("dictionary."):
            raise StudyError(
                f"{tensors.where} holds no encoder ({listed(tensors.names)}): its values come from a pursuit (MpSAE, OMPSAE), "
                "which is no linear map with an activation. It cannot be converted"
            )
        raise StudyError(f"{tensors.where} is not {WHAT}: it holds {listed(tensors.names)}")
    jumps = "thresholds" in tensors
    if given is None:
        if jumps:
            return "JumpSAE"
        raise StudyError(
            f"{tensors.where}: SAE, TopKSAE and BatchTopKSAE have the same tensors and compute different values; say which it is "
            "with --class, and --k or --threshold as it needs"
        )
    if given not in CLASSES:
        raise StudyError(
            f"{tensors.where}: class {shown(given)} is not converted; those that are: {', '.join(CLASSES)}"
        )
    if jumps != (given in _JUMPS):
        raise StudyError(
            f"{tensors.where} {'holds' if jumps else 'does not hold'} the tensor thresholds, which {' and '.join(_JUMPS)} have "
            f"and no others; --class {given} is wrong"
        )
    return given


def _encoder(tensors: Tensors) -> tuple[Tensor, Tensor | None, list[str]]:
    """Weight, bias, and what to say; refused where there is more than one linear map."""
    if f"{_TIED}._weights" in tensors:
        bias = tensors.maybe("encoder.bias", "m")
        weight = tensors.take(f"{_TIED}._weights", "md") * _multiplier(tensors, f"{_TIED}.multiplier")
        return (
            weight,
            bias,
            ["its encoder is its dictionary as saved; a state dict must be saved after model.eval(), which scales it"],
        )
    if "encoder.weight" in tensors:
        return tensors.take("encoder.weight", "md"), tensors.maybe("encoder.bias", "m"), []
    if f"{_FINAL}.0.weight" not in tensors or tensors.any_under("encoder.mlp_blocks"):
        raise _several(tensors)
    weight, bias = tensors.take(f"{_FINAL}.0.weight", "md"), tensors.take(f"{_FINAL}.0.bias", "m")
    if not tensors.any_under(_NORM):
        return weight, bias, []
    if f"{_NORM}.running_mean" not in tensors:
        raise StudyError(
            f"{tensors.where}: {_NORM} has no running_mean, so it is a layer norm, whose scale differs from position to position "
            "(mlp_ln_*). It cannot be folded, and the autoencoder cannot be converted"
        )
    mean, variance = tensors.take(f"{_NORM}.running_mean", "m"), tensors.take(f"{_NORM}.running_var", "m")
    scale, shift = tensors.take(f"{_NORM}.weight", "m"), tensors.take(f"{_NORM}.bias", "m")
    tensors.ignore(f"{_NORM}.num_batches_tracked")
    scale = scale / (variance + _EPS).sqrt()
    return weight * scale[:, None], (bias - mean) * scale + shift, ["its batch norm is folded into encoder and bias"]


def _several(tensors: Tensors) -> StudyError:
    names = [name for name in tensors.names if name.startswith("encoder.")]
    return StudyError(
        f"{tensors.where}: its encoder is more than one linear map ({listed(names)}): mlp_*_3, resnet, attention and encoders of "
        "one's own cannot be converted"
    )


def _multiplier(tensors: Tensors, name: str) -> float:
    """The factor whose logarithm the file holds."""
    import math

    value = tensors.scalar(name) or 0.0
    if not abs(value) < 80:  # beyond, float32 does not hold the factor
        raise StudyError(
            f"{tensors.where}: {name} is {value:g}, the logarithm of a factor; it must be between -80 and 80"
        )
    return math.exp(value)


def _decoder(tensors: Tensors) -> tuple[Tensor | None, list[str]]:
    if "dictionary._weights" in tensors:
        return tensors.take("dictionary._weights", "md") * _multiplier(tensors, "dictionary.multiplier"), []
    parts = [tensors.ignore(f"dictionary.{name}") for name in ("C", "W", "Relax", "multiplier")]
    if any(parts):
        return None, [
            "its archetypal dictionary is not in the file as it acts (delta is not), so the code has no decoder"
        ]
    return None, ["the file holds no dictionary, so the code has no decoder"]


def _activation(kind: str, tensors: Tensors, options: Options) -> tuple[dict[str, Any], Tensor | None]:
    """Fields and threshold of a class."""
    import torch

    if kind == "SAE":
        return {"activation": "relu"}, None
    if kind in _JUMPS:
        tensors.ignore("bandwidth")  # acts in training alone
        return {"activation": "jumprelu", "comparison": ">="}, tensors.take("thresholds", "m").exp()
    if kind == "BatchTopKSAE":
        threshold = options.take("threshold")
        if threshold is None:
            raise StudyError(
                f"{tensors.where}: running_threshold of a BatchTopKSAE is an attribute that no state dict holds, and without "
                "it its values would depend on the batch. Read it from the model (model.running_threshold) and say --threshold"
            )
        return {"activation": "jumprelu", "comparison": ">="}, torch.full(
            (tensors.sizes["m"],), threshold, dtype=torch.float64
        )
    k = options.take("k")
    if k is None:
        raise StudyError(f"{tensors.where}: top_k of a {kind} is an attribute that no state dict holds; say --k")
    return {"activation": "topk", "k": k, "order": "relu_topk"}, None
