"""Places in networks that are no module of a listed layer type, but whose values people were asked about.

A row of the roster names a set of rules in its column `taps`; the layers of these rules come beside those of
units.layer_types, in the order in which the network reaches them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

VERSION = 1


@dataclass(frozen=True)
class Tap:
    """One place: the output of `module`, or the input of its child `tap`; `channel_axis` of the value that is read."""

    name: str
    module: str
    tap: str  # "output", or the name of the child whose input is read
    channel_axis: int


@dataclass(frozen=True)
class Rule:
    """Where a module path fits `path` as a whole, its output is a layer; or, with `child`, the input of that child is."""

    path: str
    channel_axis: int
    child: str = "output"
    name: str = ""  # appended to the module path, so that a sum inside a block has a name of its own


# Layers of the IMI study (its code: stimuli_generation/utils.py) that have no listed type; its convolutions,
# norms and linear layers need no rule. Its residual sums ("shortcut" there) are taken before the ReLU.
RULES: dict[str, tuple[Rule, ...]] = {
    "imi": (
        Rule(r"layer\d+\.\d+", 1, child="act3", name="residual_sum"),  # bottleneck ResNets of timm
        Rule(r"stages\.\d+\.\d+", 1, child="act", name="residual_sum"),  # the same in timm's ByobNet: CLIP's ResNet
        Rule(r"blocks\.\d+\.ls[12]", -1),  # ViT: layer scale, an identity where the network has none
        Rule(r"stages\.\d+\.blocks\.\d+", 1),  # ConvNeXt: output of a block, channels first
    )
}


def find_taps(paths: Iterable[str], rules: str) -> list[Tap]:
    """Taps of a network with these module paths, in their order; none for an empty name of rules."""
    known = dict.fromkeys(paths)
    return [
        Tap(f"{path}.{rule.name}" if rule.name else path, path, rule.child, rule.channel_axis)
        for rule in (RULES[rules] if rules else ())
        for path in known
        if re.fullmatch(rule.path, path) and (rule.child == "output" or f"{path}.{rule.child}" in known)
    ]
