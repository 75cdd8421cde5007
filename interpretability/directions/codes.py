"""Codes: what turns the values of a layer at one position into the values of its latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

ACTIVATIONS = ("linear", "relu", "topk", "jumprelu", "gated")
SCALINGS = ("none", "layer_norm", "constant_norm", "factor")
DECODER_NORMS = ("none", "before", "after")
ORDERS = ("relu_topk", "topk_relu")
COMPARISONS = (">", ">=")
TOKENS = ("all", "class", "patches")


@dataclass(frozen=True, kw_only=True, eq=False)
class Code:
    """An encoder of m latents over a layer of width d, and what is known of its training.

    A position x (d) becomes h = encoder @ (scaled(x) - pre_bias) + bias (m), then the activation:
    linear      h
    relu        max(h, 0)
    topk        the k largest of the latents of a position, others 0. order relu_topk: of max(h, 0); topk_relu: of h, and then
                max(., 0). Both give the same values, fewer than k of them active where fewer are above 0; the order says
                which one the code was trained with. Ties go to the lower latent
    jumprelu    max(h, 0) where h > threshold (comparison >) or h >= threshold, else 0; a BatchTopK at inference is this one
    gated       max(magnitude * g + bias, 0) where g + gate_bias > 0, else 0, with g = encoder @ (scaled(x) - pre_bias)

    scaling     none; layer_norm: (x - mean) / (std + 1e-5) over the width, std with n - 1; constant_norm: x sqrt(d) / |x|;
                factor: x times `factor`
    decoder_norm   before: h times the norm of the latent's decoder row before the k largest are taken, and kept so; after:
                the finished value times that norm
    tokens      positions that count where a layer has tokens: all, class (the first one), patches (all behind the first
                `n_prefix`)
    layer       name of the layer in the network for which the code was made; empty: not known
    source      in words: which library and file it came from

    Fields are looked at where a code is used or written: these raise InputError naming a field that does not fit
    (`checks.check_code`).

    >>> import torch
    >>> from interpretability import Code
    >>> Code(encoder=torch.eye(3), bias=torch.tensor([-0.5, 0.0, 0.5]), activation="relu", layer="layer4").layer
    'layer4'
    """

    encoder: Tensor  # (m, d) float32, and so all of these
    bias: Tensor | None = None  # (m,)
    pre_bias: Tensor | None = None  # (d,)
    decoder: Tensor | None = None  # (m, d)
    threshold: Tensor | None = None  # (m,)
    magnitude: Tensor | None = None  # (m,)
    gate_bias: Tensor | None = None  # (m,)
    activation: str = "linear"
    k: int = 0
    order: str = "relu_topk"
    comparison: str = ">"
    scaling: str = "none"
    factor: float = 1.0
    decoder_norm: str = "none"
    tokens: str = "all"
    n_prefix: int = 1
    layer: str = ""
    source: str = ""
