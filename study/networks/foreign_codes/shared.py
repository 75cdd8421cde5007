"""What several libraries write alike: scalings of the input, gates, and names of places in a network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from interpretability.checkpoints import shown
from interpretability.directions.checks import check_code
from interpretability.directions.codes import Code
from interpretability.directions.files import as_float32
from interpretability.errors import InputError
from study.errors import StudyError
from study.networks.foreign_codes.contents import Converted, Settings, Tensors
from study.networks.foreign_codes.options import Options

if TYPE_CHECKING:
    from torch import Tensor

# hooks of TransformerLens and ViT-Prisma whose values are outputs of a module in timm's vision transformers
_HOOKS = {
    r"blocks\.([0-9]+)\.hook_resid_post": "blocks.{0}",
    r"blocks\.([0-9]+)\.hook_attn_out": "blocks.{0}.attn",
    r"blocks\.([0-9]+)\.hook_mlp_out": "blocks.{0}.mlp",
}
SCALINGS = {"none": "none", "layer_norm": "layer_norm", "constant_norm_rescale": "constant_norm"}


def scaling_of(settings: Settings, default: str, options: Options) -> dict[str, Any]:
    """Scaling and factor of a code by `normalize_activations`, as SAELens and ViT-Prisma spell it.

    Raises StudyError for scalings whose numbers are in no file: one factor, which the user may give, or a whole matrix.
    """
    key = "normalize_activations"
    value = settings.raw(key)
    if value is None:
        value = default
    elif isinstance(value, bool):  # of early versions
        value = "expected_average_only_in" if value else "none"
    if isinstance(value, str) and value in SCALINGS:
        return {"scaling": SCALINGS[value]}
    if value == "expected_average_only_in":
        if (factor := options.take("factor")) is None:
            raise StudyError(
                f"{settings.where}: {key} is expected_average_only_in: inputs were multiplied by a factor in training that no "
                "file of the library holds, and that is usually folded into the weights before they are saved. If it was not, "
                "say it with --factor (sqrt(width) / mean norm of the layer's values in training); if it was, --factor 1"
            )
        return {"scaling": "factor", "factor": factor} if factor != 1 else {"scaling": "none"}
    if value == "covariance_whitening":
        raise StudyError(
            f"{settings.where}: {key} is covariance_whitening: inputs were multiplied by a matrix in training that the file does "
            "not hold. Fold it into the weights in SAELens (fold_activation_whitening), save, and convert that"
        )
    raise StudyError(
        f"{settings.where}: {key} is {shown(repr(value))}; known are {', '.join(SCALINGS)}, expected_average_only_in and "
        "covariance_whitening"
    )


def gates(tensors: Tensors) -> dict[str, Tensor]:
    """Fields of a gated code in the names that SAELens and ViT-Prisma share."""
    return {
        "bias": tensors.take("b_mag", "m"),
        "gate_bias": tensors.take("b_gate", "m"),
        "magnitude": tensors.take("r_mag", "m").exp(),
    }


def layer_of(hook: str, options: Options) -> tuple[str, list[str]]:
    """The name of the layer for which a code was made, and what to say about it."""
    given = options.take("layer")
    if given is not None:
        return given, [f"its file says {shown(hook)}; the layer {shown(given)} is given"] if hook else []
    if not hook:
        return "", ["its file does not say where in the network it was made; --layer puts that into the code"]
    for pattern, name in _HOOKS.items():
        if found := re.fullmatch(pattern, hook):
            layer = name.format(found[1])
            return layer, [
                f"{hook} is {layer} in vision transformers of timm; where the network calls it otherwise, say so with --layer"
            ]
    return "", [f"it was made at {shown(hook)}, which is no module's output in general; --layer names the layer"]


def refuse_heads(settings: Settings, keys: tuple[str, ...]) -> None:
    """Raise StudyError for a code of one head of an attention."""
    for key in keys:
        if settings.raw(key) is not None:
            raise StudyError(
                f"{settings.where}: {key} is {shown(repr(settings.raw(key)))}: the code reads one head of an attention, and no "
                "layer of a network gives the values of one head"
            )


def built(
    where: str, source: str, options: Options, layer: str, tensors: dict[str, Tensor | None], tokens: str, **fields: Any
) -> Code:
    """A checked code from tensors of float64 and other fields.

    tokens   what the file says of them, which --tokens overrules
    Raises StudyError, which begins with `where`, for a code that `check_code` refuses.
    """
    given, n_prefix = options.take("tokens"), options.take("n_prefix")
    if n_prefix is not None:
        fields["n_prefix"] = n_prefix
    try:
        narrow = {name: as_float32(tensor, name).contiguous() for name, tensor in tensors.items() if tensor is not None}
        code = Code(**narrow, tokens=given or tokens, layer=layer, source=source, **fields)  # pyright: ignore[reportArgumentType]
        check_code(code)
    except InputError as error:
        raise StudyError(f"{where}: {error}") from None
    return code


def finished(code: Code, notes: list[str], tensors: Tensors, what: str, options: Options) -> Converted:
    """The result, once every tensor of the file and every option was looked at."""
    tensors.refuse_rest(what)
    options.refuse_unused(tensors.where)
    return Converted(code, tuple(notes))
