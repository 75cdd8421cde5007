"""What a resolved row says of its network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from study.networks import roster
from study.networks.roster import RosterRow

if TYPE_CHECKING:
    from interpretability.networks.network import Network


def described(row: RosterRow, network: Network, digest: str, last: int) -> RosterRow:
    """The row of a network that is loaded."""
    return {
        **row,
        "sha256": digest,
        "preprocessing": network.preprocessing.dumps(),
        "last": last,
        "n_params": sum(value.numel() for value in network.model.parameters()),
        "input_size": network.preprocessing.crop,
        "family": family(row),
    }


def family(row: RosterRow) -> str:
    """Networks of one family are no independent draws: the roster's word, else the module of timm or torchvision that
    builds the network (resnet, vision_transformer), else its constructor."""
    import timm
    import torchvision

    text = str(row["constructor"])
    if row["family"] or roster.is_computed(row):
        return str(row["family"])
    if ":" in text:
        return text
    if timm.is_model(text.split(".")[0]):
        builder = timm.models.model_entrypoint(text.split(".")[0])
    elif text in torchvision.models.list_models():
        builder = torchvision.models.get_model_builder(text)
    else:
        return text
    return str(builder.__module__).rpartition(".")[2]
