"""Weights that timm and torchvision fetch from their hubs: where they come from, and what to do where they cannot be had."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from study.errors import StudyError
from study.log import logger
from study.networks.roster import RosterRow

log = logger("models")

_TIMEOUT = 5  # seconds without an answer after which a hub counts as unreachable


@dataclass(frozen=True)
class Source:
    """Where weights come from: `file` of `address`, kept below `folder`."""

    file: str
    address: str
    folder: Path

    @property
    def hugging_face(self) -> bool:
        import huggingface_hub

        return self.address.startswith(str(huggingface_hub.constants.ENDPOINT))


def source_of(row: RosterRow, kwargs: dict[str, Any]) -> Source | None:
    """Where timm or torchvision fetches the weights of a row; None for a constructor or file of the user's own."""
    import timm
    import torch
    import torchvision

    text = str(row["constructor"])
    kept = Path(torch.hub.get_dir()) / "checkpoints"
    if ":" in text:
        return None
    if not timm.is_model(text.split(".")[0]):
        known = getattr(torchvision.models.get_model_weights(text), "DEFAULT", None)
        if known is None:
            raise _none(row)
        return Source(Path(urlsplit(known.url).path).name, known.url, kept)
    overlay = kwargs.get("pretrained_cfg_overlay") or {}
    record = vars(timm.get_pretrained_cfg(text) or object) | overlay
    if record.get("file") or record.get("state_dict") or kwargs.get("pretrained_cfg"):
        return None
    if name := record.get("hf_hub_id"):
        import huggingface_hub

        constants = huggingface_hub.constants
        file = record.get("hf_hub_filename") or "model.safetensors"
        return Source(
            file, f"{constants.ENDPOINT}/{name}", Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
        )
    if url := record.get("url"):
        return Source(Path(urlsplit(url).path).name, url, kept)
    raise _none(row)


@contextmanager
def fetching(row: RosterRow, kwargs: dict[str, Any]) -> Generator[None]:
    """Around what fetches weights: those kept on this machine are used, and an unreachable hub costs seconds.

    Raises StudyError naming file, folder and address for weights that cannot be had.
    """
    source = source_of(row, kwargs)
    trouble = _trouble(source) if source else ""
    if source and trouble and not source.hugging_face and not (source.folder / source.file).is_file():
        raise _refused(row, source, trouble)
    try:
        with _offline(bool(trouble)):
            yield
    except (OSError, RuntimeError) as error:
        # where it may not connect, its library says at length that it lacks the file
        lacks = trouble and type(error).__name__ == "LocalEntryNotFoundError"
        text = trouble if lacks else " ".join(str(error).split())[:200]
        raise _refused(row, source, text) from None


def _none(row: RosterRow) -> StudyError:
    return StudyError(
        f"{row['name']}: there are no weights of {row['constructor']} on a hub; write another constructor, a file of weights "
        "and its sha256, or weights none"
    )


def _refused(row: RosterRow, source: Source | None, reason: str) -> StudyError:
    where = (
        f"{source.file} would come from {source.address} and be kept in {source.folder}. " if source is not None else ""
    )
    return StudyError(
        f"{row['name']}: the weights of {row['constructor']} could not be fetched from their hub ({reason}). {where}Connect "
        "once (they stay in the cache folder, HF_HOME or TORCH_HOME), or download the file and write its path "
        "and sha256 into the roster"
    )


def _trouble(source: Source) -> str:
    """Why a hub cannot be asked, empty if it can."""
    import huggingface_hub

    if source.hugging_face and huggingface_hub.constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    parts = urlsplit(source.address)
    if trouble := unreachable(f"{parts.scheme}://{parts.netloc}"):
        _warn(trouble)
    return trouble


@cache
def _warn(trouble: str) -> None:
    """Say once a process that a hub cannot be asked; it may go on with what is on this machine."""
    log.warning("%s; only weights that are on this machine can be used", trouble)


@cache
def unreachable(address: str) -> str:
    """Why an address does not answer, empty if it does; asked once a process, by the proxies of the environment."""
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=_TIMEOUT).close()
    except urllib.error.HTTPError:
        return ""  # an answer, though not the one that a reader of pages wants
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            return ""  # it answers; its library may know other certificates
        return f"{address} does not answer: {reason}"
    return ""


@contextmanager
def _offline(wanted: bool) -> Generator[None]:
    """Keep the library of Hugging Face from asking again and again, for most of a minute a network, what cannot answer."""
    import huggingface_hub

    constants = huggingface_hub.constants
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or wanted
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
