"""All inputs of a study that DVC does not see, written where it does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from study.files.tables import fresh_folder, write_json
from study.inputs.digests import Digests
from study.inputs.listing import Facts, ImagePlace, image_facts
from study.inputs.named import MISSING, network_files, similarity_files
from study.log import clock, in_words, logger
from study.networks.roster import read_roster, rows_of
from study.params.parts import Backends

log = logger("inputs")


@dataclass(frozen=True, kw_only=True)
class Roster:
    """Where the roster lies, of `models`."""

    roster: str


@dataclass(frozen=True, kw_only=True)
class InputParams:
    """What says which files are inputs."""

    processor: str
    images: ImagePlace
    models: Roster
    scores: Backends


@dataclass(frozen=True)
class Inputs:
    """Inputs outside of DVC's sight: what the images are, and digests of files by name.

    `problems` says what is wrong with files that networks need, by the name of the network; `to_fetch` names files of weights
    of similarities that are fetched when they are first needed.
    """

    images: Facts
    networks: dict[str, str]
    similarities: dict[str, dict[str, str]]
    n_networks: int
    problems: dict[str, str]
    to_fetch: list[str]

    @classmethod
    def look(cls, params: InputParams) -> Inputs:
        """The inputs as they are now. Raises StudyError where the images or the roster cannot be read."""
        digests, began = Digests.open(), time.monotonic()
        rows = rows_of(read_roster(params.models.roster))
        images = image_facts(params.images)
        networks, problems = network_files(rows, digests)
        found = {name: similarity_files(name, digests) for name in params.scores.backends}
        similarities = {name: files for name, (files, _) in found.items()}
        to_fetch = list(dict.fromkeys(file for _, absent in found.values() for file in absent))
        digests.save()
        if (took := time.monotonic() - began) > 1:
            log.info("inputs looked through in %s", clock(took))
        return cls(images, networks, similarities, len(rows), problems, to_fetch)

    def write(self, out: Path) -> None:
        """A file for the images, one for the networks, and one a similarity: a stage depends on those that it reads."""
        folder = fresh_folder(out)
        write_json(folder / "images.json", self.images)
        write_json(folder / "networks.json", self.networks)
        for name, files in self.similarities.items():
            write_json(folder / "similarities" / f"{name}.json", files)

    def in_words(self) -> list[str]:
        """What there is, a line each."""
        files = (
            f": {self.images['files']:,} files, {in_words(float(self.images['bytes']))}" if "files" in self.images else ""
        )
        there = sum(digest != MISSING for digest in self.networks.values())
        named = f"; {there} of the {len(self.networks)} files that they name are there" if self.networks else ""
        return [
            f"images: {self.images['source']}{files}",
            f"roster: {self.n_networks} rows{named}",
            f"similarities: {', '.join(self.similarities)}",
            *(f"  to be fetched when it is needed: {file}" for file in self.to_fetch),
        ]
