"""What one forward pass calls: every output that could be a layer, in order, and the weights that act elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from interpretability.networks.acting import Acting, Weights, is_own_call, layer_by_layer
from interpretability.networks.modules import (
    Add,
    declared_width,
    first_tensor,
    fused_activation,
    hooks,
    layer_type,
    read,
)
from interpretability.networks.taps import Tap


@dataclass(frozen=True)
class Output:
    """One output of a pass. `declared`: channels that the module declares; `real`: whether its values are no complex ones."""

    name: str  # of the layer, without the number of the call
    module: str
    call: int
    tap: str  # as in `layers.Layer`
    layer_type: str
    declared: int | None
    shape: tuple[int, ...]
    real: bool

    @property
    def place(self) -> tuple[str, str, int, str]:
        return self.name, self.module, self.call, self.tap


@dataclass
class Trace:
    """One pass.

    outputs   in order; those of weights that act without a call among them
    beside    outputs of weights whose module is called too: a layer's second use, out of its hooks' sight
    empty     modules whose output holds no tensor
    through   for layers that are never called: other functions that their weights went through
    """

    outputs: list[Output] = field(default_factory=list)
    beside: list[Output] = field(default_factory=list)
    empty: set[str] = field(default_factory=set)
    through: dict[str, list[str]] = field(default_factory=dict)


def trace(
    model: nn.Module, batch: Tensor, norm_act: str, taps: Sequence[Tap], weights: Mapping[int, list[Weights]]
) -> Trace:
    """What a pass calls; `weights`: those of the network (`weights_of`)."""
    found = Trace()
    counts: Counter[tuple[str, str]] = Counter()
    running: Counter[str] = Counter()
    called: set[str] = set()

    def note(name: str, path: str, tap: str, kind: str, declared: int | None, value: Tensor) -> None:
        call = counts[path, tap]
        counts[path, tap] += 1
        found.outputs.append(
            Output(name, path, call, tap, kind, declared, tuple(value.shape), real=not value.is_complex())
        )

    def acted(owners: Sequence[Weights], output: Tensor, source: Tensor | None) -> None:
        if not is_own_call(owners, running):
            first = owners[0]
            note(first.layer, first.module, first.tap, first.layer_type, first.width or None, output)

    def passed(owners: Sequence[Weights], function: str) -> None:
        if not is_own_call(owners, running) and function not in found.through.setdefault(owners[0].layer, []):
            found.through[owners[0].layer].append(function)

    with hooks() as add, layer_by_layer(), Acting(weights, acted, passed):
        for path in {owner.module for owners in weights.values() for owner in owners if owner.of_module}:
            _count_calls(add, model.get_submodule(path), path, running, called)
        for name, path, tap in _watched(model, norm_act, taps):
            module = model.get_submodule(path)
            facts = (name, path, tap, layer_type(module), declared_width(module))

            def take(value: object, facts: tuple[str, str, str, str, int | None] = facts) -> None:
                tensor = first_tensor(value)
                if tensor is None:
                    found.empty.add(facts[0])
                else:
                    note(*facts, tensor)

            read(add, module, tap, take)
        model(batch)
    second = {
        (owners[0].module, owners[0].tap)
        for owners in weights.values()
        if any(owner.of_module and owner.module in called for owner in owners)
    }
    found.beside = [output for output in found.outputs if (output.module, output.tap) in second]
    found.outputs = [output for output in found.outputs if (output.module, output.tap) not in second]
    return found


def _count_calls(add: Add, module: nn.Module, path: str, running: Counter[str], called: set[str]) -> None:
    def enter(*_: object) -> None:
        running[path] += 1
        called.add(path)

    def leave(*_: object) -> None:
        running[path] -= 1

    add(module.register_forward_pre_hook(enter))
    add(module.register_forward_hook(leave, always_call=True))


def _watched(model: nn.Module, norm_act: str, taps: Sequence[Tap]) -> list[tuple[str, str, str]]:
    """(name, module path, tap) of every place that may give units."""
    watched = [(tap.name, tap.module, tap.tap) for tap in taps]
    tapped = {tap.module for tap in taps if tap.tap == "output"}
    for name, module in model.named_modules():
        if not name or name in tapped or (any(True for _ in module.children()) and layer_type(module) == "Other"):
            continue
        act = fused_activation(module)
        child = "output"
        if act is not None and norm_act == "before":
            child = next(child for child, candidate in module.named_children() if candidate is act)
        watched.append((name, name, child))
    return watched
