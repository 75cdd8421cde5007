"""Networks constructed by their roster row; weights are read without running code in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.errors import StudyError
from study.log import logger
from study.networks import hub, own_code
from study.networks.constructors import Constructor, told
from study.networks.files import put_weights
from study.networks.roster import RosterRow, is_resized, owner

if TYPE_CHECKING:
    from torch import nn

    from interpretability.networks.network import Network
    from interpretability.networks.preprocessing import Preprocessing

log = logger("models")

_INPUT = (
    "A network here takes one batch of images, float32 of shape (images, 3, height, width), in evaluation mode, and nothing "
    "else; write a function that wraps or completes it so"
)


def load_network(row: RosterRow, models: Path, code: Path, seed: int) -> Network:
    """The network of a resolved roster row; `models` is the out of the models stage.

    Raises StudyError, besides what `build_network` raises, where weights or code are not those that the stage `models` saw.
    """
    from interpretability.networks.network import Network, initialised

    own_code.refuse_changed(row, code)
    # the initial weights of an untrained row come from its own name and the seed
    model = build_network(row, code, models / "weights", lambda construct: initialised(construct, seed, owner(row)))
    own_code.refuse_new(row, model)
    digest = state_digest(model)
    if row["weights"] in ("hub", "none") and row["sha256"] and digest != row["sha256"]:
        raise StudyError(
            f"{row['name']}: its weights are not those that the stage `models` saw ({row['weights']}): their digest is {digest}, "
            f"not {row['sha256']}; run `dvc repro --force models` to take them as they are now"
        )
    built = json.dumps([row["constructor"], row["kwargs"], row.get("code", "")])
    return Network(str(row["name"]), model, preprocessing_of(row, model), digest, built)


def preprocessing_of(row: RosterRow, model: nn.Module) -> Preprocessing:
    """What a network is shown: as its row says, else as the record of timm or torchvision does.

    A row of `of:NAME` at another size of input may say of it alone: the rest is then as the record has it.
    """
    from interpretability.networks.preprocessing import Preprocessing

    given = row["preprocessing"] or resolve_preprocessing(row, model)
    if is_resized(row) and "mean" not in (fields := json.loads(row["preprocessing"])):
        given = {**resolve_preprocessing(row, model), **fields}
    return Preprocessing.parse(given, str(row["name"]))


def build_network(
    row: RosterRow, code: Path, weights: Path | None, make: Callable[[Callable[[], nn.Module]], nn.Module]
) -> nn.Module:
    """The network of a roster row on the CPU, in evaluation mode, with its weights, in float32.

    weights: folder of the trained checkpoints, None to leave a network that is to be trained at its initial weights.
    `make(construct)` builds a network with keyed initial weights, of which those that a file or hub does not give are left.
    Raises StudyError for a missing file, another digest, weights that do not fit, or an unreachable hub.
    """
    construct = Constructor.of(row, code)
    if row["weights"] == "hub":
        with hub.fetching(row, construct.kwargs):
            model = make(lambda: whole(construct(pretrained=True), row))
    else:
        model = make(lambda: whole(construct(), row))
        if row["weights"] != "none" and weights is not None:
            put_weights(row, model, weights, construct.outputs)
    return in_float32(model, row).eval()


def whole(model: nn.Module, row: RosterRow) -> nn.Module:
    """A network whose lazy layers, if it has any, have got their weights from a pass of noise of its size."""
    import torch

    lazy = _lazy(model)
    if not lazy:
        return model
    model = in_float32(model, row)  # as it will run
    size = preprocessing_of(row, model).crop
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.rand(2, 3, size, size))
    except Exception as error:
        raise forward_failure(error, str(row["name"]), (2, 3, size, size)) from error
    if left := _lazy(model):
        raise StudyError(
            f"{row['name']}: a pass of the network gives no shape to {len(left)} of its {len(lazy)} weights of lazy layers, "
            f"{left[0]} the first; build these layers with their sizes"
        )
    log.info("%s: %d weights of lazy layers got their shapes from a pass of noise", row["name"], len(lazy))
    return model.train(training)


def in_float32(model: nn.Module, row: RosterRow) -> nn.Module:
    """The network with all weights in float32, as they run here; half precision loses nothing by it."""
    import torch

    kinds = [value.dtype for value in model.parameters() if value.is_floating_point()]
    others = [kind for kind in kinds if kind != torch.float32]
    if not others:
        return model
    names = ", ".join(sorted({str(kind).removeprefix("torch.") for kind in others}))
    log.info(
        "%s: %d of its %d tensors of weights are %s; they run in float32", row["name"], len(others), len(kinds), names
    )
    return model.float()


def forward_failure(error: Exception, name: str, shape: tuple[int, ...]) -> Exception:
    """An error of a network's forward pass in plain words; our own errors, and those of a disk, as they are."""
    return told(error, f"{name}: its forward pass on a batch {shape}", f". {_INPUT}")


def resolve_preprocessing(row: RosterRow, model: nn.Module) -> dict[str, Any]:
    """Preprocessing of a row without one, from timm's or torchvision's own record of the network."""
    import torchvision

    from interpretability.networks.preprocessing import timm_preprocessing

    if getattr(model, "pretrained_cfg", None):
        # a network made for another size than its weights were trained at is shown images of that size
        asked = json.loads(row["kwargs"] or "{}").get("img_size")
        return timm_preprocessing(model, asked if isinstance(asked, int) else None)
    if row["constructor"] in torchvision.models.list_models():
        weights: Any = torchvision.models.get_model_weights(row["constructor"])
        record = weights.DEFAULT.transforms()
        return {
            "crop": record.crop_size[0],
            "resize": record.resize_size[0],
            "interpolation": record.interpolation.value,
            "mean": list(record.mean),
            "std": list(record.std),
        }
    raise StudyError(
        f"{row['name']}: preprocessing is empty, and neither timm nor torchvision knows it; write it as JSON such as "
        '{"resize": 256, "crop": 224, "interpolation": "bicubic", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}, with the '
        "numbers that the network was trained with"
    )


def state_digest(model: nn.Module) -> str:
    """Digest of all weights and buffers by name: what the network computes, whatever file it came from."""
    from interpretability.networks.network import state_digest

    return state_digest(model.state_dict())


def _lazy(model: nn.Module) -> list[str]:
    """Names of weights and buffers that have no shape yet."""
    from torch.nn.parameter import is_lazy

    return [name for name, value in [*model.named_parameters(), *model.named_buffers()] if is_lazy(value)]
