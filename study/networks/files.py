"""Files that a roster names: where they are looked for, and the weights in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpretability.checkpoints import Wanted, choose_state
from interpretability.errors import InputError
from interpretability.files import sha256_file
from interpretability.weights import read_content
from study.errors import StudyError
from study.log import logger
from study.networks.places import found
from study.networks.roster import RosterRow, owner

if TYPE_CHECKING:
    from torch import nn

log = logger("models")


def weights_file(row: RosterRow, folder: Path) -> tuple[Path, str]:
    """File of the weights of a row, and the table in it that is meant, if the row names one.

    Trained weights lie in `folder`, others are relative to MIS_WEIGHTS or to here.
    """
    if row["weights"] == "trained":
        return folder / f"{owner(row)}.safetensors", ""
    whole = str(row["weights"])
    if path := found(whole):
        return path, ""
    end = len(whole)
    while (end := whole.rfind("#", 0, end)) > 0:
        if path := found(whole[:end]):
            return path, whole[end + 1 :]
    return user_file(whole.split("#")[0] or whole), ""


def user_file(name: str) -> Path:
    """A file named by the user: absolute, or relative to MIS_WEIGHTS, or to the repository."""
    if path := found(name):
        return path
    raise StudyError(
        f"file {name} does not exist (looked in MIS_WEIGHTS, here and in data/external/weights); put it into one of "
        "them, or correct its name in the roster"
    )


def identity(row: RosterRow) -> str:
    """What tells the weights of a resolved row from all others, without reading them: digest, and the table that is meant."""
    table = str(row["weights"]).rpartition("#")[2] if "#" in str(row["weights"]) else ""
    return f"{row['sha256']}#{table}" if table else row["sha256"]


def other_digest(row: RosterRow, path: Path, digest: str) -> str:
    """What is said where a file of weights has another digest than its row."""
    return (
        f"{path.name} has sha256 {digest}, the roster says {row['sha256']}; it is another file. "
        "Download it again, or write the new digest into the roster if you mean this one"
    )


def put_weights(row: RosterRow, model: nn.Module, folder: Path, outputs: str = "num_classes") -> None:
    """Load the file of weights that a row names into a network.

    Raises StudyError for a missing file, another digest, or weights that are not the network's.
    """
    path, table = weights_file(row, folder)
    digest = sha256_file(path)
    if row["sha256"] and digest != row["sha256"].lower():
        raise StudyError(f"{row['name']}: {other_digest(row, path, digest)}")

    def loads(state: Mapping[str, Any]) -> bool:
        try:
            model.load_state_dict(state, strict=True)
        except Exception:  # a conversion of the network's own may raise anything; then this table is none that it takes
            return False
        return True

    convert = loads if _converts(model) else None
    try:
        chosen = choose_state(
            read_content(path),
            Wanted.by(model),
            path.name,
            table,
            loads=convert,
            network=row["constructor"],
            outputs=outputs,
        )
        model.load_state_dict(chosen.tensors, strict=chosen.converted)
    except (InputError, RuntimeError) as error:
        raise StudyError(f"{row['name']}: {' '.join(str(error).split())}") from None
    for note in chosen.notes:
        log.info("%s: %s: %s", row["name"], path.name, note)


def _converts(model: nn.Module) -> bool:
    """Whether a network takes names of older versions of itself."""
    from torch import nn

    usual = nn.Module._load_from_state_dict  # pyright: ignore[reportPrivateUsage]
    return any(
        part._load_state_dict_pre_hooks  # pyright: ignore[reportPrivateUsage]
        or (type(part)._load_from_state_dict is not usual and not type(part).__module__.startswith("torch.nn."))  # pyright: ignore[reportPrivateUsage]
        for part in model.modules()
    )
