"""The original GoogLeNet of 2014 (BVLC Caffe model): no batch norm, real 5x5 convolutions, local response norm.

Roster: constructor `bvlc_googlenet:googlenet`. Inputs are RGB, resized to 256, cropped to 224, minus the mean colour
123, 117, 104 on the 0..255 scale: preprocessing {"resize": 256, "crop": 224, "interpolation": "bilinear",
"mean": [0.482353, 0.458824, 0.407843], "std": [0.003921569, 0.003921569, 0.003921569]}.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import GoogLeNet


class PlainConv(nn.Module):
    """Convolution with bias and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x))


class Inception(nn.Module):
    """Four branches side by side: 1x1, 3x3, 5x5 and pooling, each reduced by a 1x1 convolution first."""

    def __init__(
        self, in_channels: int, ch1x1: int, ch3x3red: int, ch3x3: int, ch5x5red: int, ch5x5: int, pool_proj: int,
        conv_block: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.branch1 = PlainConv(in_channels, ch1x1, kernel_size=1)
        self.branch2 = nn.Sequential(
            PlainConv(in_channels, ch3x3red, kernel_size=1), PlainConv(ch3x3red, ch3x3, kernel_size=3, padding=1)
        )
        self.branch3 = nn.Sequential(
            PlainConv(in_channels, ch5x5red, kernel_size=1), PlainConv(ch5x5red, ch5x5, kernel_size=5, padding=2)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), PlainConv(in_channels, pool_proj, kernel_size=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class _NoHead(nn.Module):
    """Stands in for the auxiliary classifiers, which evaluation does not use."""


def googlenet(num_classes: int = 1000) -> nn.Module:
    """GoogLeNet with torchvision's module names, so that units are called alike in both."""
    model = GoogLeNet(
        num_classes=num_classes, aux_logits=False, transform_input=False, init_weights=False,
        blocks=[PlainConv, Inception, _NoHead],
    )  # fmt: skip
    norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
    model.maxpool1 = nn.Sequential(model.maxpool1, norm)
    model.maxpool2 = nn.Sequential(norm, model.maxpool2)
    model.maxpool4 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    return model
