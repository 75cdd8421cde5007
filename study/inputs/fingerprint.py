"""All inputs of a study that DVC does not see, written where it does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interpretability.errors import InputError
from interpretability.tasks import rules
from study.environment import Environment
from study.errors import StudyError, message_of
from study.files.tables import fresh_folder, read_json, write_json
from study.images.sources import PUT_PICTURES
from study.inputs import listed, reaching
from study.inputs.digests import Digests
from study.inputs.explained import Explained, read_explained
from study.inputs.listing import Facts, Listing, look_at_images
from study.inputs.named import network_files, similarity_files
from study.inputs.settings import GuideWeights, InputParams
from study.inputs.strangers import refuse_strangers
from study.log import clock, in_words, logger
from study.networks.files import user_file
from study.networks.roster import RosterRow, read_roster, rows_of
from study.networks.similarity import check_encoder

log = logger("inputs")


@dataclass(frozen=True)
class Inputs:
    """Inputs outside of DVC's sight: what the images are, digests of files by name, and the texts of units, checked.

    `guide` is the digest of the weights of each guide by their name, where they are a file; `problems` says what is wrong with
    files that networks need and with their constructors, by the name of the network; `to_fetch` names files of weights of
    similarities that are fetched when they are first needed.
    """

    images: Facts
    networks: dict[str, str]
    similarities: dict[str, dict[str, str]]
    explained: Explained
    guide: dict[str, str]
    n_networks: int
    problems: dict[str, str]
    to_fetch: list[str]

    @classmethod
    def look(
        cls, params: InputParams, code: Path, texts: Path, known: Path | None = None, where: str = "params.yaml"
    ) -> Inputs:
        """The inputs as they are now.

        Raises StudyError where the images or the roster cannot be read, for too few images, for a network that parameters name
        and the roster has not, for weights of a similarity that can neither be read nor fetched, and for a text of a unit that
        is not in order.

        code: folder of the user's own code, which DVC sees
        texts: folder of texts that explain units
        known: folder of an earlier `write`. What is not on this machine counts as unchanged since then, so that who has the
        data of a study but not its images can go on from there. A place that MIS_IMAGES names must be there all the same. Nor
        does it matter then whether weights of a similarity can be fetched, of which nothing says that they will be needed.
        where: file of the parameters, for errors
        """
        digests, began = Digests.open(), time.monotonic()
        rows = _rows(params.models.roster)
        try:
            listing = look_at_images(params.images)
        except StudyError as error:
            listing = Listing(_known(known, "images.json"), None)
            if Environment.read().images or listing.facts.get("source") != params.images.source:
                raise
            log.warning("%s. Until then they count as those that data/inputs describes", error)
        _refuse_few(listing, params)
        models = params.models
        check_encoder(params.scores.backends, params.scores.encoder.model, rows, models.roster, models.training)
        refuse_strangers(params, rows, where)
        networks, problems = network_files(rows, code, digests, _known(known, "networks.json"))
        for name, problem in listed.unlisted(rows, code).items():
            problems[name] = "; ".join(filter(None, [problem, problems.get(name)]))
        try:
            found = {
                name: similarity_files(name, digests, _known(known, f"similarities/{name}.json"))
                for name in params.scores.backends
            }
        except InputError as error:
            raise StudyError(f"{where}: {message_of(error)}") from None
        similarities = {name: files for name, (files, _) in found.items()}
        explained = read_explained(texts, params.explanations.concepts, rows, params.models.roster)
        before = _known(known, "explanations/guide.json")
        guide = _guide_file("guide", params.explanations.guide, digests, before)
        guide |= _guide_file("second_guide", params.explanations.second_guide, digests, before)
        absent = {name: files for name, (_, files) in found.items() if files}
        new = {name: files for name, files in absent.items() if not _known(known, f"similarities/{name}.json")}
        folder = Environment.read().weights
        free = [name for name in params.scores.backends if name not in absent]
        if lost := reaching.out_of_reach(new, folder, free):
            raise StudyError("\n  ".join(lost))
        to_fetch = reaching.told(absent, folder)
        digests.save()
        if (took := time.monotonic() - began) > 1:
            log.info("inputs looked through in %s", clock(took))
        return cls(listing.facts, networks, similarities, explained, guide, len(rows), problems, to_fetch)

    def write(self, out: Path) -> None:
        """A file for the images, one for the networks, one a similarity, one for units with texts and a folder for these: a stage
        depends on those that it reads.
        """
        folder = fresh_folder(out)
        write_json(folder / "images.json", self.images)
        write_json(folder / "networks.json", self.networks)
        for name, files in self.similarities.items():
            write_json(folder / "similarities" / f"{name}.json", files)
        self.explained.write(folder)
        write_json(folder / "explanations" / "guide.json", self.guide)

    def in_words(self) -> list[str]:
        """What there is, a line each."""
        files = (
            f": {self.images['files']:,} files, {in_words(float(self.images['bytes']))}"
            if "files" in self.images
            else ""
        )
        named = f", {len(self.networks)} files" if self.networks else ""
        texts = len(self.explained.texts)
        return [
            f"images: {self.images['source']}{files}",
            f"roster: {self.n_networks} rows{named}",
            f"similarities: {', '.join(self.similarities)}",
            *([f"texts: {texts:,} of {len(self.explained.units):,} units"] if texts else []),
            *(f"  to be fetched when it is needed: {file}" for file in self.to_fetch),
        ]


def _rows(roster: str) -> list[RosterRow]:
    """The rows of the roster of parameters; a file that is not there is told by its key."""
    path = Path(roster)
    if not path.exists():
        others = sorted(each.name for each in path.parent.glob("*.csv"))
        there = f"; there are {', '.join(others)}" if others else ""
        raise StudyError(
            f"models.roster is {roster!r}, but there is no such file{there}. Correct the name, or write the file: a header such "
            "as name,constructor,weights,sha256 and a row a network (docs/networks.md)"
        )
    return rows_of(read_roster(path))


def _refuse_few(listing: Listing, params: InputParams) -> None:
    """Refuse a folder with too few pictures for the tasks; what is no whole picture is only found when all are read."""
    if listing.pictures is None:
        return
    where = f"the image folder {Environment.read().images or params.images.root}"
    if not listing.pictures:
        n_files = listing.facts["files"]
        held = f"{n_files:,} files, but none is called as a picture is" if n_files else "no files"
        raise StudyError(f"{where} holds {held}. {PUT_PICTURES}")
    tasks = params.tasks
    conditions = tasks.conditions if tasks.source == "rebuilt" else ()
    try:
        rules.check_images(listing.pictures, tasks.n_tasks, tasks.n_explanations, conditions)
    except InputError as error:
        raise StudyError(f"{where}: {message_of(error)}") from None


def _guide_file(key: str, guide: GuideWeights, digests: Digests, known: dict[str, str]) -> dict[str, str]:
    """Digest of the weights of a guide by their name, if this is that of a file; what is not here is as it was `known`."""
    name = guide.pretrained.rpartition("=")[2]  # the tag of weights may stand before their file
    if guide.source != "open_clip" or not name.endswith((".safetensors", ".pt", ".pth", ".bin")):
        return {}
    try:
        return {name: digests.of(user_file(name))}
    except StudyError:
        if name not in known:
            raise StudyError(
                f"explanations.{key}.pretrained is {name!r}, but there is no such file (looked in MIS_WEIGHTS, here and in "
                "data/external/weights); put it into one of them, or name weights that open_clip publishes"
            ) from None
        return {name: known[name]}


def _known(folder: Path | None, name: str) -> dict[str, Any]:
    """What a file of an earlier look says; nothing where there is none."""
    path = None if folder is None else folder / name
    return read_json(path) if path is not None and path.is_file() else {}
