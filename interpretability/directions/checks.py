"""What the fields of a code must be, for its formula to be defined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interpretability import arguments
from interpretability.arguments import wrong
from interpretability.directions.codes import (
    ACTIVATIONS,
    COMPARISONS,
    DECODER_NORMS,
    ORDERS,
    SCALINGS,
    TOKENS,
    Code,
)

if TYPE_CHECKING:
    from torch import Tensor

WORDS = {
    "activation": ACTIVATIONS,
    "order": ORDERS,
    "comparison": COMPARISONS,
    "scaling": SCALINGS,
    "decoder_norm": DECODER_NORMS,
    "tokens": TOKENS,
}
AXES = {
    "encoder": ("latents", "width"),
    "bias": ("latents",),
    "pre_bias": ("width",),
    "decoder": ("latents", "width"),
    "threshold": ("latents",),
    "magnitude": ("latents",),
    "gate_bias": ("latents",),
}
# tensors without which an activation is not defined, and which no other one looks at
_OWN = {"threshold": "jumprelu", "magnitude": "gated", "gate_bias": "gated"}
_LONGEST = 1000  # letters of a text
_MOST_FACTOR = 1e30  # what a scaled value of float32 stands; factors are near 1
_ROWS = 1024  # looked at in one go


def check_code(code: Code) -> None:
    """Raise InputError, naming the field, for a code whose formula is not defined or which holds what nothing looks at.

    Words are among those of `codes`; tensors are float32, of sizes that agree, and finite. `topk` needs k from 1 to m, and
    nothing else takes one; `jumprelu` needs a threshold, `gated` magnitude and gate_bias, and nothing else takes them;
    decoder_norm needs a decoder, and `before` the activation topk; a factor needs the scaling `factor`.
    """
    for name, allowed in WORDS.items():
        arguments.choice(getattr(code, name), name, allowed)
    for name in ("layer", "source"):
        _one_line(getattr(code, name), name)
    _check_numbers(code)
    _check_presence(code)
    _check_tensors(code)


def _one_line(value: object, name: str) -> None:
    text = arguments.text(value, name)
    if not text.isprintable() or len(text) > _LONGEST:
        raise wrong(name, "is {text!r}; it must be one line of at most {most} letters", text=text[:100], most=_LONGEST)


def _check_numbers(code: Code) -> None:
    arguments.count(code.k, "k", 0)
    arguments.count(code.n_prefix, "n_prefix", 1 if code.tokens == "class" else 0)
    factor = arguments.number(code.factor, "factor", above=0, below=_MOST_FACTOR)
    if factor != 1 and code.scaling != "factor":
        raise wrong(
            "factor",
            "is {value}, but scaling is {scaling}; only `factor` takes one",
            value=factor,
            scaling=code.scaling,
        )
    if code.k and code.activation != "topk":
        raise wrong(
            "k",
            "is {value}, but activation is {activation}; only topk takes one",
            value=code.k,
            activation=code.activation,
        )
    if code.decoder_norm == "before" and code.activation != "topk":
        raise wrong(
            "decoder_norm",
            "is before, but activation is {activation}; only topk tells before from after. Fold the norms into encoder and bias, "
            "or say after",
            activation=code.activation,
        )


def _check_presence(code: Code) -> None:
    for name, activation in _OWN.items():
        given = getattr(code, name) is not None
        if given and code.activation != activation:
            raise wrong(
                name,
                "is given, but activation is {activation}; only {owner} looks at it",
                activation=code.activation,
                owner=activation,
            )
        if not given and code.activation == activation:
            raise wrong(name, "is missing; activation {activation} needs it", activation=activation)
    if code.decoder_norm != "none" and code.decoder is None:
        raise wrong("decoder", "is missing; decoder_norm {norm} needs it", norm=code.decoder_norm)


def _check_tensors(code: Code) -> None:
    sizes: dict[str, int] = {}
    for name, axes in AXES.items():
        given = getattr(code, name)
        if given is None and name != "encoder":
            continue
        tensor = _tensor(given, name)
        if tensor.ndim != len(axes) or not tensor.numel():
            raise wrong(name, "has shape {shape}; it must be ({axes})", shape=tuple(tensor.shape), axes=", ".join(axes))
        if name == "encoder":
            sizes = dict(zip(axes, tensor.shape, strict=True))
        wanted = tuple(sizes[axis] for axis in axes)
        if tuple(tensor.shape) != wanted:
            raise wrong(
                name,
                "has shape {shape}; it must be {wanted}, because encoder has {latents} latents over a width of {width}",
                shape=tuple(tensor.shape),
                wanted=wanted,
                latents=sizes["latents"],
                width=sizes["width"],
            )
        check_finite(tensor, name)
    if code.activation == "topk" and not 1 <= code.k <= sizes["latents"]:
        raise wrong(
            "k",
            "is {value}; topk needs one from 1 to {latents}, the number of latents",
            value=code.k,
            latents=sizes["latents"],
        )


def _tensor(tensor: object, name: str) -> Tensor:
    """The same, where it is a tensor of float32 with values in memory."""
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise wrong(name, "is of type {kind}; it must be a torch.Tensor", kind=type(tensor).__name__)
    if tensor.dtype != torch.float32 or tensor.layout != torch.strided or tensor.is_meta:
        raise wrong(
            name,
            "is of kind {kind} on {device}; it must be torch.float32 with values in memory",
            kind=f"{tensor.dtype}, {tensor.layout}",
            device=tensor.device,
        )
    return tensor


def check_finite(tensor: Tensor, name: str) -> None:
    """Raise InputError with the place and value of the first number that is not finite."""
    import torch

    for start in range(0, len(tensor), _ROWS):
        part = tensor[start : start + _ROWS]
        wrong_ones = ~torch.isfinite(part)
        if wrong_ones.any():
            place = wrong_ones.nonzero()[0].tolist()
            value = part[tuple(place)].item()
            place[0] += start
            raise wrong(name, "holds {value} at {place}; all values must be finite", value=value, place=place)
