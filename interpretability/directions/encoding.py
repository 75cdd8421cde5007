"""The values of latents: the formulas of `codes.Code`, computed in blocks so that memory stays bounded."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from interpretability import arguments
from interpretability.directions.checks import check_code
from interpretability.directions.codes import Code

VERSION = 1  # of the arithmetic
POSITIONS = (
    256  # encoded in one go: a size of the formula, not of a machine, because sums of others may differ in last bits
)
LATENTS = 2048  # computed in one go where latents do not compete, so that their values stay near the processor
_EPSILON = 1e-5  # of layer_norm


class Encoder:
    """A code ready to encode on one device.

    `parts(x)` takes positions (n, d), n at most a block, and yields latents and their values (n, latents): all at once for
    topk, where latents compete, else blocks of LATENTS.
    """

    def __init__(self, code: Code, device: torch.device | str = "cpu") -> None:
        check_code(code)
        self.code, self.device = code, torch.device(device)
        self.n_latents, self.width = code.encoder.shape
        norms = None
        if code.decoder is not None and code.decoder_norm != "none":
            norms = torch.linalg.vector_norm(code.decoder.detach().double(), dim=1).float()
        self._norms = self._there(norms)
        self._turned = code.encoder.detach().to(self.device).T
        self._bias, self._pre_bias = self._there(code.bias), self._there(code.pre_bias)
        self._threshold, self._magnitude = self._there(code.threshold), self._there(code.magnitude)
        self._gate_bias = self._there(code.gate_bias)

    def _there(self, tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.detach().to(self.device)

    def parts(self, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Latents and their values at positions (n, d) of float32 on the device."""
        x = self._scaled(x)
        if self._pre_bias is not None:
            x = x - self._pre_bias
        step = self.n_latents if self.code.activation == "topk" else LATENTS
        for start in range(0, self.n_latents, step):
            chosen = slice(start, min(start + step, self.n_latents))
            values = self._active(x @ self._turned[:, chosen], chosen)
            if self._norms is not None and self.code.decoder_norm == "after":
                values *= self._norms[chosen]
            yield chosen, values

    def one(self, x: Tensor, latent: int) -> Tensor:
        """Values (n,) of one latent at positions (n, d), as `parts` gives them but for rounding, with gradients by x.

        Where latents compete, which of them are taken is found first, and held to be fixed.
        """
        code, taken = self.code, None
        if code.activation == "topk":
            with torch.no_grad():
                taken = torch.cat([values[:, latent] > 0 for _, values in self.parts(x)])
        x = self._scaled(x)
        if self._pre_bias is not None:
            x = x - self._pre_bias
        h = g = x @ self._turned[:, latent]
        if self._magnitude is not None:
            h = h * self._magnitude[latent]
        if self._bias is not None:
            h = h + self._bias[latent]
        if code.activation != "linear":
            h = h.relu()
        if self._gate_bias is not None:  # gated
            taken = g + self._gate_bias[latent] > 0
        elif self._threshold is not None:  # jumprelu
            bound = self._threshold[latent]
            taken = (h > bound) if code.comparison == ">" else (h >= bound)
        if taken is not None:
            h = h * taken
        return h * self._norms[latent] if self._norms is not None else h

    def _scaled(self, x: Tensor) -> Tensor:
        scaling = self.code.scaling
        if scaling == "layer_norm":
            return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + _EPSILON)
        if scaling == "constant_norm":
            norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
            # a position of zeros has no direction and stays zero
            return x * (math.sqrt(self.width) / norm.masked_fill(norm == 0, 1))
        return x * self.code.factor if scaling == "factor" else x

    def _active(self, h: Tensor, latents: slice) -> Tensor:
        """Values from the products with the encoder, which are overwritten. What is not finite stays so, to be seen later."""
        code = self.code
        if self._magnitude is not None and self._gate_bias is not None:  # gated
            shut = h + self._gate_bias[latents] <= 0
            h *= self._magnitude[latents]
            return self._biased(h, latents).relu_().masked_fill_(shut, 0)
        h = self._biased(h, latents)
        if self._threshold is not None:  # jumprelu
            bound = self._threshold[latents]
            return h.masked_fill_((h <= bound) if code.comparison == ">" else (h < bound), 0).relu_()
        if code.activation == "topk":
            if self._norms is not None and code.decoder_norm == "before":
                h *= self._norms
            return _largest(h.relu_(), code.k)
        return h.relu_() if code.activation == "relu" else h

    def _biased(self, h: Tensor, latents: slice) -> Tensor:
        if self._bias is not None:
            h += self._bias[latents]
        return h


def _largest(h: Tensor, k: int) -> Tensor:
    """The k largest of each row of h (n, m), which is not negative and overwritten; others 0. Ties go to the lower latent.

    A latent that is taken and negative becomes 0 as one that is not taken, so it does not matter whether ReLU comes before or
    after the choice.
    """
    if k >= h.shape[1]:
        return h
    values, taken = h.topk(k + 1, dim=1)
    # torch says nothing of the order of equals: where the last that is taken equals the next, a stable order decides
    tied = (values[:, k - 1] == values[:, k]) & (values[:, k] > 0)
    values, taken = values[:, :k], taken[:, :k]
    if tied.any():
        ordered, order = h[tied].sort(dim=1, descending=True, stable=True)
        values, taken = values.clone(), taken.clone()
        values[tied], taken[tied] = ordered[:, :k], order[:, :k]
    return h.zero_().scatter_(1, taken, values)


@torch.no_grad()
def encode(code: Code, maps: Tensor, *, block: int = POSITIONS) -> Tensor:
    """Values of the latents of a code at every position.

    code     its `encoder` has shape (m, d)
    maps     (images, positions, d), (positions, d) or (d,), floating-point; all positions are encoded, whatever code.tokens
             says
    block    positions that are encoded in one go: it bounds the memory beside the result to block x m values (topk) or
             block x 2,048; other blocks may differ in last bits

    Returns float32 with the same leading axes and m, on the device of `maps`; computed in float32 also under autocast. The
    formulas are those of `Code`; a position of zeros stays zero under constant_norm. Raises InputError for a code that
    `checks.check_code` refuses, and for maps of another width.

    Departure: for constant_norm the libraries give NaN at a position of zeros, which networks with ReLU have.

    >>> import torch
    >>> from interpretability import Code, encode
    >>> code = Code(encoder=torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), activation="topk", k=1)
    >>> encode(code, torch.tensor([[2.0, 1.0], [-3.0, 1.0]])).tolist()
    [[2.0, 0.0, 0.0], [0.0, 0.0, 3.0]]
    """
    arguments.count(block, "block")
    check_code(code)
    width = code.encoder.shape[1]
    if not isinstance(maps, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise arguments.wrong("maps", "is of type {kind}; it must be a torch.Tensor", kind=type(maps).__name__)
    if not maps.is_floating_point():
        raise arguments.wrong("maps", "holds values of type {kind}; they must be floating-point", kind=maps.dtype)
    if not 1 <= maps.dim() <= 3 or maps.shape[-1] != width:
        raise arguments.wrong(
            "maps",
            "has shape {shape}; its last of at most three axes must be {width}, the width of the layer that the code reads",
            shape=tuple(maps.shape),
            width=width,
        )
    encoder = Encoder(code, maps.device)
    rows = maps.reshape(-1, width)
    out = torch.empty((len(rows), encoder.n_latents), dtype=torch.float32, device=maps.device)
    with torch.autocast(maps.device.type, enabled=False):
        for start in range(0, len(rows), block):
            part = slice(start, start + block)
            for latents, values in encoder.parts(rows[part].float()):
                out[part, latents] = values
    return out.reshape(*maps.shape[:-1], encoder.n_latents)
