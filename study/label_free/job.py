"""Scores without labels of the units of one network, from one small pass over a sample of the images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.files import sha256_file
from study.errors import StudyError
from study.files.store import WorkStore
from study.files.tables import write_parquet
from study.images.manifest import ImageSet, open_images
from study.label_free.dealing import Dealt
from study.label_free.embedded import Embedded
from study.label_free.ends import Ends, read_ends
from study.label_free.parameters import LabelFreeParams
from study.label_free.sources import Batch, Source
from study.label_free.summing import BLOCK, BlockSums, block_scores, bytes_a_unit
from study.log import in_words, logger
from study.networks.activation_tables import source_of
from study.networks.files import identity
from study.networks.precisions import unless_asked
from study.networks.roster import NetworkJob, RosterRow, is_table
from study.workers.device import device
from study.workers.placement import device_kind

log = logger("label_free")

VERSION = 2  # of the files in the work store


@dataclass(frozen=True)
class Sample:
    """Images that are seen (sorted), and the places in them of those on which predictions are held against values."""

    images: NDArray[np.int32]
    probes: NDArray[np.int64]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.images.astype("<i4").tobytes() + self.probes.astype("<i8").tobytes()).hexdigest()


@dataclass(frozen=True)
class Folders:
    """Where a study lies: outs of the stages before, and code of one's own."""

    activations: Path
    tasks: Path
    images: Path
    models: Path
    code: Path


@dataclass(frozen=True)
class LabelFreeJob(NetworkJob):
    """File of the scores of one network or control: a row a unit and similarity.

    base     row of the network whose values a permuted control deals anew; else none
    layers   its rows of the table of layers
    budget   bytes that sums may take: decides how many times the sample passes, and no result
    """

    base: RosterRow | None
    layers: pd.DataFrame
    params: LabelFreeParams
    folders: Folders
    sample: Sample
    embedded: tuple[Embedded, ...]
    n_explaining: int
    budget: float

    def run(self) -> Path:
        images = open_images(self.folders.images, self.params.images.root, quick=True)
        return WorkStore.open().fetch(
            "label_free", self._ingredients(images), ".parquet", lambda path: self._write(images, path)
        )

    def _ingredients(self, images: ImageSet) -> dict[str, Any]:
        import torch

        from interpretability.label_free import capture
        from interpretability.networks import preprocessing, taps
        from interpretability.networks.layers import UNITS_VERSION

        params, rows = self.params, [self.row, *([self.base] if self.base else [])]
        names = [row["name"] for row in rows]
        scored = hashlib.sha256(self._ends(self.name).scored.tobytes()).hexdigest()
        return {
            "images": images.digest,
            "seed": params.seed,
            "rows": [{**{name: str(value) for name, value in row.items()}, "weights": identity(row)} for row in rows],
            # the extremes of all units over all images: what the network computes, and which images explain
            "extremes": [sha256_file(self.folders.activations / f"{name}.safetensors") for name in names],
            "tables": [sha256_file(source_of(row).file) for row in rows if is_table(row)],
            "scored": scored,
            "sample": self.sample.digest,
            "n_explaining": self.n_explaining,
            "n_top": params.label_free.n_top,
            "confidence": params.stats.confidence,
            "pass": asdict(params.activations) | unless_asked(params.activations.precision, self.source.precision),
            "units": asdict(params.units),
            "embeddings": [each.ingredients for each in self.embedded],
            "device": device_kind(device()),
            "packages": {package: version(package) for package in ("torchvision", "timm", "pillow")},
            "torch": torch.__version__,
            "versions": [VERSION, capture.VERSION, UNITS_VERSION, taps.VERSION, preprocessing.VERSION],
        }

    def _ends(self, name: str) -> Ends:
        folders, n_top = self.folders, self.params.label_free.n_top
        return read_ends(folders.activations, folders.tasks, name, self.layers, self.n_explaining, n_top)

    @property
    def n_units(self) -> int:
        return int(self.layers["width"].sum())

    def groups(self) -> list[list[slice]]:
        """Blocks of units by pass over the sample: as many as the memory takes."""
        blocks = [slice(start, min(start + BLOCK, self.n_units)) for start in range(0, self.n_units, BLOCK)]
        each = BLOCK * bytes_a_unit([each.width for each in self.embedded], len(self.sample.probes))
        most = int(self.budget // each)
        if not most:
            raise StudyError(
                f"{self.name}: the sums of {BLOCK} units take {in_words(each)}, more than the {in_words(self.budget)} of a "
                "worker; raise MIS_MEMORY_GB, let fewer workers run (MIS_WORKERS), or name fewer similarities in scores.backends"
            )
        return [blocks[start : start + most] for start in range(0, len(blocks), most)]

    @property
    def source(self) -> Source:
        """Where its values come from, or those that it deals anew."""
        folders = self.folders
        return Source.noted(self.base or self.row, self.params, folders.activations, folders.models, folders.code)

    def batches(self, source: Source, images: ImageSet, sample: NDArray[np.int32]) -> Iterator[Batch]:
        """Values of its source. Raises StudyError where they are not those of the extremes, Overflow as the source does."""
        for batch in source.batches(images, sample, local=not self.base):
            if batch.values.shape[1] != self.n_units:
                raise StudyError(
                    f"{self.name}: it has {batch.values.shape[1]} units, and {self.folders.activations} holds extremes of "
                    f"{self.n_units}, found by other code or of another network; run `dvc repro`"
                )
            yield batch

    def _write(self, images: ImageSet, path: Path) -> None:
        ends, groups = self._ends(self.name), self.groups()
        if len(groups) > 1:
            log.info(
                "%s: sums of all units do not fit into the memory; the images pass %d times", self.name, len(groups)
            )
        tables = self.source.held(
            lambda source: [table for group in groups for table in self._pass(source, images, ends, group)]
        )
        write_parquet(path, pd.concat(tables, ignore_index=True))

    def _pass(self, source: Source, images: ImageSet, ends: Ends, group: Sequence[slice]) -> list[pd.DataFrame]:
        """Tables of some blocks of units, from one pass over the sample."""
        from interpretability.label_free.embedding_sums import EmbeddingSums

        sample = self.sample
        blocks = [BlockSums(units, sample.probes, len(self.embedded)) for units in group]
        of_images = [EmbeddingSums() for _ in self.embedded]
        dealt = [self._dealt(units) for units in group] if self.base else [None] * len(group)
        for batch in self.batches(source, images, sample.images):
            shown = sample.images[batch.places]
            rows = [each.rows(shown) for each in self.embedded]
            for sums, part in zip(of_images, rows, strict=True):
                sums.update(part)
            placed = [_beside(batch.values, part) for part in rows]
            for block, deal in zip(blocks, dealt, strict=True):
                _add(block, batch, deal, shown, rows, placed)
        probes = sample.images[sample.probes]
        tables = []
        for block in blocks:
            facts = block.facts().assign(row=np.arange(block.units.start, block.units.stop))
            for place, each in enumerate(self.embedded):
                scores = block_scores(block, place, each, of_images[place], ends, probes, self.params.stats.confidence)
                tables.append(facts.join(scores))
        return tables

    def _dealt(self, units: slice) -> Dealt:
        """How the values of the control's network are dealt to its units."""
        from safetensors.numpy import load_file

        from interpretability.randomness import network_keys

        assert self.base is not None
        before, after = (
            load_file(self.folders.activations / f"{row['name']}.safetensors") for row in (self.base, self.row)
        )
        widths = zip(self.layers["layer"], self.layers["width"], strict=True)

        def ends(state: dict[str, NDArray[Any]], what: str) -> NDArray[Any]:
            return np.concatenate([state[f"{side}_{what}"][units] for side in ("top", "bottom")], axis=1)

        return Dealt(
            network_keys(self.params.seed, self.name, widths)[units],
            ends(before, "images"),
            ends(after, "images"),
            ends(after, "values"),
            self.params.seed,
        )


def _beside(values: Any, rows: NDArray[np.float32]) -> Any:
    """Rows on the device of the values."""
    if not hasattr(values, "detach"):
        return rows
    import torch

    return torch.from_numpy(rows).to(values.device)


def _add(
    block: BlockSums,
    batch: Batch,
    dealt: Dealt | None,
    shown: NDArray[np.int32],
    rows: Sequence[NDArray[np.float32]],
    placed: Sequence[Any],
) -> None:
    """Take a batch into the sums of a block; of a permuted control what is dealt to its images, which has no maps."""
    from interpretability.label_free.value_sums import host

    values = batch.values[:, block.units]
    if dealt is not None:
        block.add(batch.places, dealt.deal(shown, host(values)), None, rows)
    else:
        local = None if batch.local is None else batch.local[..., block.units]
        block.add(batch.places, values, local, placed)
