"""Inception V1 as TensorFlow's graph of 2015 ("inception5h") has it, with the layer names of the Lucent package.

The first of the annotated networks. It is not the BVLC GoogLeNet of `bvlc_googlenet.py`: mixed4a has 508 channels instead
of 512, the 5x5 branch of mixed5a is reduced to 48 instead of 32, local response norm is wider and weaker, padding is
TensorFlow's, and there are 1,008 outputs. Parameters are named as in Lucent's checkpoint, so that it loads as it is.

Roster: constructor `lucent_inception:inception_v1`. Inputs are x * 255 - 117 of a centre crop of 229 pixels (IMI):
preprocessing {"resize": 256, "crop": 229, "interpolation": "bilinear", "mean": [0.458824, 0.458824, 0.458824],
"std": [0.003921569, 0.003921569, 0.003921569]}.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# channels of the 1x1 branch, of the 3x3 branch and its bottleneck, of the 5x5 branch and its bottleneck, of the pool branch
BLOCKS = {
    "mixed3a": (64, 128, 96, 32, 16, 32),
    "mixed3b": (128, 192, 128, 96, 32, 64),
    "mixed4a": (192, 204, 96, 48, 16, 64),
    "mixed4b": (160, 224, 112, 64, 24, 64),
    "mixed4c": (128, 256, 128, 64, 24, 64),
    "mixed4d": (112, 288, 144, 64, 32, 64),
    "mixed4e": (256, 320, 160, 128, 32, 128),
    "mixed5a": (256, 320, 160, 128, 48, 128),
    "mixed5b": (384, 384, 192, 128, 48, 128),
}
HALVED_AFTER = ("mixed3b", "mixed4e")  # blocks behind which the map is halved


def _halved(x: Tensor) -> Tensor:
    """3x3 maximum with stride 2; TensorFlow pads an even map on the right and at the bottom alone."""
    return F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), 3, stride=2)


def _normed(x: Tensor) -> Tensor:
    return F.local_response_norm(x, size=9, alpha=1e-4, beta=0.5, k=1.0)


class InceptionV1(nn.Module):
    """Logits of images (n, 3, 229, 229), or of any size at which the last map has 7 x 7 places."""

    def __init__(self, num_classes: int = 1008) -> None:
        super().__init__()
        self._conv("conv2d0", 3, 64, 7, stride=2)
        self._conv("conv2d1", 64, 64, 1)
        self._conv("conv2d2", 64, 192, 3, padding=1)
        width = 192
        for block, (one, three, three_in, five, five_in, pool) in BLOCKS.items():
            self._conv(f"{block}_1x1", width, one, 1)
            self._conv(f"{block}_3x3_bottleneck", width, three_in, 1)
            self._conv(f"{block}_3x3", three_in, three, 3, padding=1)
            self._conv(f"{block}_5x5_bottleneck", width, five_in, 1)
            self._conv(f"{block}_5x5", five_in, five, 5, padding=2)
            self._conv(f"{block}_pool_reduce", width, pool, 1)
            width = one + three + five + pool
        self.softmax2_pre_activation_matmul = nn.Linear(width, num_classes)

    def _conv(self, name: str, n_in: int, n_out: int, size: int, stride: int = 1, padding: int = 0) -> None:
        self.add_module(f"{name}_pre_relu_conv", nn.Conv2d(n_in, n_out, size, stride=stride, padding=padding))

    def _relu(self, name: str, x: Tensor) -> Tensor:
        return F.relu(self.get_submodule(f"{name}_pre_relu_conv")(x))

    def _block(self, name: str, x: Tensor) -> Tensor:
        pooled = F.max_pool2d(x, 3, stride=1, padding=1)
        branches = [
            self._relu(f"{name}_1x1", x),
            self._relu(f"{name}_3x3", self._relu(f"{name}_3x3_bottleneck", x)),
            self._relu(f"{name}_5x5", self._relu(f"{name}_5x5_bottleneck", x)),
            self._relu(f"{name}_pool_reduce", pooled),
        ]
        return torch.cat(branches, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        # stride 2 with TensorFlow's padding: one place more behind than in front
        x = _normed(_halved(self._relu("conv2d0", F.pad(x, (2, 3, 2, 3)))))
        x = self._relu("conv2d2", self._relu("conv2d1", x))
        x = _halved(_normed(x))
        for name in BLOCKS:
            x = self._block(name, x)
            if name in HALVED_AFTER:
                x = _halved(x)
        x = F.avg_pool2d(x, 7, stride=1).flatten(1)
        return self.softmax2_pre_activation_matmul(x)


def inception_v1(num_classes: int = 1008) -> nn.Module:
    return InceptionV1(num_classes)
