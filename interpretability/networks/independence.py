"""That a unit's value of an image is that image's own, tried out on a few images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from interpretability.errors import InputError
from interpretability.networks.capture import Capture
from interpretability.networks.layers import Layer
from interpretability.networks.precision import used

# Largest difference of a unit's value alone and in a batch, relative to its layer's largest value. In float32 a GPU's libraries
# choose other algorithms for other batches. Under TF32 a mean that follows from that of its input, which is not rounded, lies
# beside the mean of rounded products: up to 4e-4 in real networks. In half precision outputs are rounded as well, at other places
# for other batches. Values of another image or channel are as large as the layer's own.
_FLOAT32 = {"cpu": 1e-5}
_ON_OTHER_DEVICES = 3e-4
TOLERANCES = {"tf32": 4e-3, "float16": 1e-2, "bfloat16": 5e-2}


def tolerance(precision: str, device: torch.device | str) -> float:
    """The largest difference, relative to the largest value of a layer, that `check_independence` lets pass."""
    kind = torch.device(device).type
    return TOLERANCES.get(used(precision, device), _FLOAT32.get(kind, _ON_OTHER_DEVICES))


def check_independence(
    model: nn.Module, layers: Sequence[Layer], images: Tensor, *, precision: str = "float32"
) -> Tensor:
    """Check that a unit's value of an image does not depend on the other images of its batch.

    A wrong axis, a regrouping in another order or a network left in training mode shows here, and a layer whose means
    do not follow from those of its input. Compares each of the `images` (n, C, H, W) alone, every map read by
    itself, and in the batch, both in the arithmetic of `precision`, to a tolerance for it.
    Returns the values (n, units). Raises InputError naming the layers. Values that are not finite pass: the run itself names
    layer and image.
    """
    with Capture(model, layers, len(images), images.device, precision=precision) as capture:
        together = capture(images).clone()
    with Capture(model, layers, 1, images.device, precision=precision, shortcut=False) as capture:
        alone = torch.cat([capture(image[None]).clone() for image in images])
    limit, widths = tolerance(precision, images.device), [layer.width for layer in layers]
    apart = (together - alone).abs().amax(0).split(widths), together.abs().amax(0).split(widths)
    # of all layers at once, since a GPU is waited for to read them
    found = torch.stack([d.max() / largest.max().clamp(min=1.0) for d, largest in zip(*apart, strict=True)]).tolist()
    wrong = [
        f"{layer.name} ({difference:.1e})"
        for layer, difference in zip(layers, found, strict=True)
        if difference > limit
    ]
    if wrong:
        raise InputError(
            "unit values do not follow from those of the layer before, or those of an image "
            f"differ between a batch of {len(images)} and the image alone by more than {limit:g} "
            f"of the layer's largest value in {len(wrong)} layers: {', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''}"
        )
    return together
