"""Weights of similarities that are still to be fetched: told before anything runs where their hub does not answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from interpretability.weights import WeightsFile
from study.networks.hub import unreachable


def told(absent: Mapping[str, Sequence[WeightsFile]], folder: Path) -> list[str]:
    """A line for each file that has to be fetched, as `absent` names them by similarity, into `folder`; each file once."""
    return list(dict.fromkeys(f"{folder / file.names[0]} (from {file.url})" for file in _each(absent)))


def out_of_reach(absent: Mapping[str, Sequence[WeightsFile]], folder: Path, free: Sequence[str]) -> list[str]:
    """What to do for each similarity whose weights can neither be read here nor be fetched, as `told`; `free` are those of the
    study that have nothing to fetch.
    """
    lines = []
    for name, files in absent.items():
        silent = {file.url: why for file in files if (why := unreachable(_host(file.url)))}
        if silent:
            why = next(iter(silent.values()))
            instead = f"take {name} out of scores.backends" if free else "name pixel, which needs none"
            lines.append(
                f"scores.backends names {name}, whose weights are not on this machine, and {why}. Connect once, or download on "
                f"another machine: {', '.join(_to_do(url, files, folder) for url in silent)}; or {instead}"
            )
    return lines


def _to_do(url: str, files: Sequence[WeightsFile], folder: Path) -> str:
    """An address, and the files that are to be there once it was fetched."""
    wanted = ", ".join(str(folder / file.names[0]) for file in files if file.url == url)
    return f"{url}{', unpacked,' if url.endswith('.zip') else ''} as {wanted}"


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _each(absent: Mapping[str, Sequence[WeightsFile]]) -> Iterable[WeightsFile]:
    return (file for files in absent.values() for file in files)
