"""A Machine Interpretability Score that can be differentiated, to train with, and what must be watched beside it.

The hard score takes a unit's N K most exciting images as explanations and the next N as queries, on both sides. Here every image
is a little of each, by a weight that changes smoothly with the unit's value: a soft band of ranks.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.tasks.rules import CONSTANT_BELOW, check_images

_LEAST_EXPLAINING = (
    2.0  # images that explain a side in all: with one, nothing is left once an image may not explain itself
)
_AT_ONCE = 1 << 21  # pairs of images of as many units as are held at a time


def shares(n_tasks: int, n_explanations: int, n_study: int) -> tuple[float, float]:
    """The shares of images that explain a side, N K / D, and that are its queries, N / D, in a study of D images.

    With them `soft_mis` asks of a batch what the hard rule asks of the whole study: queries of the same percentiles.
    Raises InputError for numbers below 1 and for a study with fewer than 2 N (K + 1) images.

    >>> from interpretability import shares
    >>> shares(n_tasks=20, n_explanations=9, n_study=4000)
    (0.045, 0.005)
    """
    n_tasks, n_explanations = arguments.count(n_tasks, "n_tasks"), arguments.count(n_explanations, "n_explanations")
    n_study = arguments.count(n_study, "n_study")
    check_images(n_study, n_tasks, n_explanations)
    return n_tasks * n_explanations / n_study, n_tasks / n_study


def soft_mis(
    activations: Tensor, embeddings: Tensor, temperature: float, slope: float, shares: tuple[float, float]
) -> Tensor:
    """The Machine Interpretability Score (MIS paper, section 3) of units over a batch, differentiable in their values.

    activations     (n, U): values of n images and U units, finite, best before an activation function: hundreds of equal zeros
                    of a rectified unit share its lowest band, and lower its score
    embeddings      (n, E): of the same images, as for `score_units`; lengths of rows do not matter; constants, no gradient
    temperature     how soft the bands are, above 0, in standard deviations of the unit. 0.3 to train with batches of 256
                    or more; 0.03 to come near the hard score on a whole set of images. A sharp band of a small batch holds
                    hardly an image, so its score is noise
    slope           of the sigmoid between margins (-4 to 4) and probabilities, above 0; 6.25 is the published one of DreamSim
    shares          of the images that explain a side, and that are its queries: see `shares`. The first, times n, is at least 2

    Returns (U,): scores from 0 to 1, 0.5 is chance, of the dtype of `activations` (half precisions: float32). They do
    not change when a unit is shifted, scaled or negated. A unit whose values span less than 1e-8 scores 0.5, with gradient 0.
    Memory grows with n U; the n^2 pairs of a unit are made block by block and not kept. There are no second derivatives. Raises
    InputError for other shapes and types, values that are not finite and batches that are too small.

    z is the unit standardised over the batch. An image explains by e = sigmoid((z - first) / temperature) and is a query by
    sigmoid((z - second) / temperature) - e; the two thresholds make the sums n times the shares, and what changes them is in the
    gradient. The negative side is the same of -z. s is an image's mean cosine with the positive explanations less that with the
    negative ones, and the score the mean of sigmoid(slope (s_i - s_j)) over positive queries i and negative queries j.
    Departure: the paper's images either explain, are a query or are neither, and N tasks pair N queries with K explanations each;
    here weights take the place of that choice, every query meets all explanations and every query of the other side.
    Departure: an image may both explain and be a query, so it is left out of the explanations that it is compared with; else
    units of chance would score above 0.5.
    Departure: a constant unit has no score in the paper; here it has one, so that the mean over units stays a number.

    >>> import torch
    >>> from interpretability import shares, soft_mis
    >>> draw = torch.Generator().manual_seed(0)
    >>> embeddings = torch.randn(512, 4, generator=draw)
    >>> noise = torch.randn(512, generator=draw)
    >>> values = torch.stack([embeddings[:, 0], noise, 0 * noise], dim=1).requires_grad_()
    >>> scores = soft_mis(values, embeddings, temperature=0.3, slope=6.25, shares=shares(20, 9, n_study=4000))
    >>> [round(score, 1) for score in scores.tolist()]
    [1.0, 0.5, 0.5]
    >>> (1 - scores.mean()).backward()  # to be added to the loss of a task
    >>> values.grad.shape
    torch.Size([512, 3])
    """
    _same_device(activations, embeddings)
    values = _checked(activations, "activations", ("images", "units"))
    others = _checked(embeddings, "embeddings", ("images", "dimensions"))
    arguments.same_images(len(values), len(others), ("activations", "embeddings"))
    temperature = arguments.number(temperature, "temperature", above=0)
    slope = arguments.number(slope, "slope", above=0)
    explaining, asked = _checked_shares(shares, len(values))
    with torch.autocast(values.device.type, enabled=False):  # products of half precision would move ranks
        rows = functional.normalize(others.detach().to(values.dtype), dim=1)
        z = _standardised(values)
        top, bottom = (_bands(side, temperature, explaining, explaining + asked) for side in (z, -z))
        likeness = _likeness(top[0], rows) - _likeness(bottom[0], rows)
        scores: Any = _PairMean.apply(top[1], bottom[1], likeness, slope)
    return scores


def decorrelation(activations: Tensor) -> Tensor:
    """How much units of a layer repeat each other: the mean of the squared correlation over all pairs of two, 0 to 1.

    activations (n, U), finite: n images, at least 2 units. Differentiable: added to a loss beside `soft_mis` it keeps units from
    becoming copies of the easiest one. A constant unit is correlated with none. Raises InputError for other shapes and types.

    >>> import torch
    >>> from interpretability import decorrelation
    >>> values = torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, -1.0], [3.0, 3.0, 1.0]])
    >>> round(decorrelation(values).item(), 3)  # one of three pairs
    0.333
    """
    correlations = _correlations(activations)
    units = len(correlations)
    if units < 2:
        raise arguments.wrong("activations", "has 1 unit; correlations need at least 2")
    return (correlations.square().sum() - correlations.diagonal().square().sum()) / (units * (units - 1))


def participation(activations: Tensor) -> Tensor:
    """How many directions the units of a layer span in effect, from 1 (copies of one unit) to their number (uncorrelated).

    activations (n, U), finite: n images. The participation ratio of the eigenvalues of the units' correlations, (sum)^2 / sum of
    squares. Constant units count for nothing; with no others it is 0. Differentiable. Raises InputError for other shapes and
    types.

    >>> import torch
    >>> from interpretability import participation
    >>> values = torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, -1.0], [3.0, 3.0, 1.0]])
    >>> round(participation(values).item(), 3)  # two copies, and one beside them
    1.8
    """
    correlations = _correlations(activations)
    return correlations.trace().square() / correlations.square().sum().clamp_min(torch.finfo(correlations.dtype).tiny)


def _checked(values: object, argument: str, axes: tuple[str, str]) -> Tensor:
    wanted = f"({', '.join(axes)})"
    if not isinstance(values, Tensor):
        raise arguments.wrong(
            argument, "is of type {kind}; it must be a torch tensor {wanted}", kind=type(values).__name__, wanted=wanted
        )
    if not values.is_floating_point():
        raise arguments.wrong(
            argument, "holds values of type {kind}; it must hold floating-point numbers", kind=values.dtype
        )
    shape = tuple(values.shape)
    if len(shape) != 2:
        raise arguments.wrong(argument, "has shape {shape}; it must be {wanted}", shape=shape, wanted=wanted)
    if 0 in shape:
        raise arguments.wrong(argument, "has shape {shape}; none of {wanted} may be empty", shape=shape, wanted=wanted)
    wrong = ~torch.isfinite(values)
    if wrong.any():
        place = wrong.nonzero()[0].tolist()
        value = values[place[0], place[1]].item()
        raise arguments.wrong(argument, "holds {value} at {place}; all values must be finite", value=value, place=place)
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _same_device(first: object, second: object) -> None:
    if isinstance(first, Tensor) and isinstance(second, Tensor) and first.device != second.device:
        raise InputError(
            "{activations} is on {device} and {embeddings} on {other}; they must be on one device",
            "activations",
            "embeddings",
            device=first.device,
            other=second.device,
        )


def _checked_shares(given: object, n: int) -> tuple[float, float]:
    """Both shares, if they leave the two sides apart and two images explain each of them."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise arguments.wrong(
            "shares",
            "is {given!r}; it must be two numbers, the shares of images that explain and that are asked about",
            given=given,
        )
    explaining, asked = (arguments.number(share, "shares", above=0, below=0.5) for share in given)
    if explaining + asked > 0.5:
        raise arguments.wrong(
            "shares", "is {given}, together above 0.5; the two sides would overlap", given=(explaining, asked)
        )
    if explaining * n < _LEAST_EXPLAINING:
        raise InputError(
            "{activations} has {n} images, and {shares} lets a share of {share:g} explain a side: {number:.2g} images, but 2 are "
            "needed. Take batches of at least {least} images",
            "activations",
            "shares",
            n=n,
            share=explaining,
            number=explaining * n,
            least=math.ceil(_LEAST_EXPLAINING / explaining),
        )
    return explaining, asked


def _standardised(values: Tensor) -> Tensor:
    """Units (U, n) of mean 0 and variance 1 over the images; zeros for constant ones, with gradient 0."""
    low, high = values.aminmax(dim=0, keepdim=True)
    varies = (high - low).detach() >= CONSTANT_BELOW
    # scaled first, since squares of large values overflow; by halves, since so may the range; z does not depend on it
    size = torch.where(varies, high / 2 - low / 2, 1.0).detach()
    scaled = (values / 2 - low.detach() / 2) / size
    centred = scaled - scaled.mean(dim=0, keepdim=True)
    variance = torch.where(varies, centred.square().mean(dim=0, keepdim=True), 1.0)
    return torch.where(varies, centred / variance.sqrt(), 0.0).T.contiguous()


def _correlations(activations: object) -> Tensor:
    """Correlations (U, U) of units; rows and columns of constant ones hold zeros."""
    values = _checked(activations, "activations", ("images", "units"))
    with torch.autocast(values.device.type, enabled=False):
        z = _standardised(values)
        return z @ z.T / len(values)


def _bands(z: Tensor, temperature: float, explaining: float, both: float) -> tuple[Tensor, Tensor]:
    """Weights (U, n) of images as explanations and as queries of the upper side of z; those of a unit sum to 1."""
    first, second = ((z - _threshold(z, share, temperature)) / temperature for share in (explaining, both))
    # sigmoid(second) - sigmoid(first) is sigmoid(second) sigmoid(-first) but for a factor of the unit, and does not cancel
    queries = functional.logsigmoid(second) + functional.logsigmoid(-first)
    return functional.logsigmoid(first).softmax(dim=1), queries.softmax(dim=1)


def _threshold(z: Tensor, share: float, temperature: float) -> Tensor:
    """Thresholds (U, 1) at which the mean of sigmoid((z - threshold) / temperature) is `share`, by bisection.

    The gradient is that of the implicit function: a threshold follows the values by the steepness of their sigmoids.
    """
    fixed = z.detach()
    low, high = fixed.aminmax(dim=1, keepdim=True)
    reach = temperature * abs(math.log(share / (1 - share)))
    low, high = low - reach, high + reach
    for _ in range(8 - round(math.log2(torch.finfo(z.dtype).eps))):
        middle = (low + high) / 2
        above = torch.sigmoid((fixed - middle) / temperature).mean(dim=1, keepdim=True) > share
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    middle = (low + high) / 2
    at = (fixed - middle) / temperature
    follows = (functional.logsigmoid(at) + functional.logsigmoid(-at)).softmax(dim=1)
    return middle + (follows * (z - fixed)).sum(dim=1, keepdim=True)


def _likeness(weights: Tensor, rows: Tensor) -> Tensor:
    """Mean cosine (U, n) of each image with the explanations that `weights` (U, n) make of all others."""
    own = weights * rows.square().sum(dim=1)
    return (weights @ rows @ rows.T - own) / (1 - weights)


class _PairMean(torch.autograd.Function):
    """Sum over i and j of top[i] bottom[j] sigmoid(slope (likeness[i] - likeness[j])), of each unit: (U,) from three of (U, n).

    Pairs are made in blocks, and derivatives with them, so that none are kept until the way back.
    """

    @staticmethod
    def forward(ctx: Any, top: Tensor, bottom: Tensor, likeness: Tensor, slope: float) -> Tensor:
        units, n = top.shape
        scores = top.new_zeros(units)
        by_top, by_bottom, by_likeness = (torch.zeros_like(top) for _ in range(3))
        derived = any(ctx.needs_input_grad)
        at_once = max(1, _AT_ONCE // n**2)
        for first in range(0, units, at_once):
            of = slice(first, first + at_once)
            i, j = _weighing(top[of]), _weighing(bottom[of])
            above, below = likeness[of].gather(1, i), likeness[of].gather(1, j)
            pairs = _Pairs(top[of].gather(1, i), bottom[of].gather(1, j), above, below, slope)
            scores[of] = pairs.sum(derived)
            if derived:
                by_top[of].scatter_(1, i, pairs.by_top)
                by_bottom[of].scatter_(1, j, pairs.by_bottom)
                by_likeness[of].scatter_(1, i, pairs.by_above)
                by_likeness[of] += torch.zeros_like(top[of]).scatter_(1, j, pairs.by_below)
        ctx.save_for_backward(by_top, by_bottom, by_likeness)
        return scores

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        if torch.is_grad_enabled():  # a graph of this would lack how the derivatives change
            raise InputError("soft_mis has no second derivatives: take its gradient without create_graph=True")
        by_top, by_bottom, by_likeness = ctx.saved_tensors
        along = grad_outputs[0][:, None]
        return along * by_top, along * by_bottom, along * by_likeness, None


def _weighing(weights: Tensor) -> Tensor:
    """Numbers (units, most) of the images of each unit whose weights can be seen in a sum of 1 of this precision.

    A sharp band of many images leaves out most of them, and so nearly all pairs.
    """
    least = torch.finfo(weights.dtype).eps / weights.shape[1]
    most = int((weights > least).sum(dim=1).max())
    return weights.sort(dim=1, descending=True, stable=True).indices[:, :most]


class _Pairs:
    """Pairs of images of some units: weights and likenesses of the upper side (u, a) and of the lower one (u, b)."""

    def __init__(self, top: Tensor, bottom: Tensor, above: Tensor, below: Tensor, slope: float) -> None:
        self._top, self._bottom, self._above, self._below, self._slope = top, bottom, above, below, slope
        self.by_top, self.by_above = torch.zeros_like(top), torch.zeros_like(top)
        self.by_bottom, self.by_below = torch.zeros_like(bottom), torch.zeros_like(bottom)

    def sum(self, derived: bool) -> Tensor:
        """The weighted sum (u,) of all pairs; with `derived` also the derivatives by each of the four."""
        total = self._top.new_zeros(len(self._top))
        behind = self._bottom[:, :, None]
        tall = max(1, _AT_ONCE // self._below.numel())
        for start in range(0, self._top.shape[1], tall):
            rows = slice(start, start + tall)
            top, ahead = self._top[:, rows], self._top[:, None, rows]
            right = (self._above[:, rows, None] - self._below[:, None, :]).mul_(self._slope).sigmoid_()
            solved = (right @ behind)[..., 0]
            total += (top * solved).sum(dim=1)
            if derived:
                steep = torch.addcmul(right, right, right, value=-1).mul_(self._slope)
                self.by_top[:, rows] = solved
                self.by_bottom += (ahead @ right)[:, 0]
                self.by_above[:, rows] = top * (steep @ behind)[..., 0]
                self.by_below -= self._bottom * (ahead @ steep)[:, 0]
        return total
