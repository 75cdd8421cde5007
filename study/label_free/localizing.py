"""How well pictures of units say where they are active, layer by layer of the networks in label_free.localizability."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.errors import InputError
from interpretability.files import sha256_file
from interpretability.randomness import key64
from study.errors import StudyError, message_of
from study.extraction.grouping import memory_budget
from study.files.store import WorkStore
from study.files.tables import read_csv, read_json, read_parquet, write_parquet
from study.images.ahead import decoders
from study.images.feed import Chosen, Feed
from study.images.manifest import ImageSet, open_images
from study.label_free.ends import read_ends
from study.label_free.job import Folders
from study.label_free.parameters import LabelFreeParams
from study.label_free.sources import Source
from study.log import in_words, logger
from study.networks.building import load_network
from study.networks.failures import Failed
from study.networks.files import identity
from study.networks.precisions import unless_asked
from study.networks.roster import NetworkJob, RosterRow, is_computed, read_roster, rows_of
from study.networks.similarity import encoder_model
from study.workers.device import Failure, device, exact
from study.workers.jobs import log_failure, run_all
from study.workers.placement import device_kind

log = logger("label_free")

VERSION = 1  # of the files in the work store
N_UNITS = 64  # of a layer, drawn by key where it has more
SCORES = ["hit", "chance", "score", "score_se", "others", "deranged"]
COLUMNS = ["model", "layer", "layer_type", "depth", "places", "grid", "n_units", *SCORES, "reason"]
_NO_MAPS = "its values come with no maps"


@dataclass(frozen=True)
class LocalizabilityJob(NetworkJob):
    """File of the scores of the layers of one network: a row a layer, COLUMNS.

    encoder        row of the network whose patches are compared
    layers         its rows of the table of layers
    n_explaining   images that explain a unit; the n_asked after them are those on which its peak is guessed
    budget         bytes that patches may take; decides no result
    """

    encoder: RosterRow
    layers: pd.DataFrame
    params: LabelFreeParams
    folders: Folders
    n_explaining: int
    n_asked: int
    budget: float

    def run(self) -> Path:
        images = open_images(self.folders.images, self.params.images.root, quick=True)
        return WorkStore.open().fetch(
            "localizability", self._ingredients(images), ".parquet", lambda path: self._write(images, path)
        )

    def _ingredients(self, images: ImageSet) -> dict[str, Any]:
        import torch

        from interpretability.label_free import localizability
        from interpretability.networks import preprocessing, taps
        from interpretability.networks.layers import UNITS_VERSION

        scored = read_ends(self.folders.activations, self.folders.tasks, self.name, self.layers, 1, 1).scored
        return {
            "images": images.digest,
            "seed": self.params.seed,
            "rows": [
                {**{name: str(value) for name, value in row.items()}, "weights": identity(row)}
                for row in (self.row, self.encoder)
            ],
            "extremes": sha256_file(self.folders.activations / f"{self.name}.safetensors"),
            "scored": hashlib.sha256(scored.tobytes()).hexdigest(),
            "sizes": [self.n_explaining, self.n_asked, N_UNITS],
            "pass": asdict(self.params.activations)
            | unless_asked(self.params.activations.precision, self._source.precision),
            "units": asdict(self.params.units),
            "device": device_kind(device()),
            "packages": {package: version(package) for package in ("torchvision", "timm", "pillow")},
            "torch": torch.__version__,
            "versions": [VERSION, localizability.VERSION, UNITS_VERSION, taps.VERSION, preprocessing.VERSION],
        }

    def _write(self, images: ImageSet, path: Path) -> None:
        chosen, tops = self._chosen()
        needed, rows = np.unique(tops, return_inverse=True)
        rows = rows.reshape(tops.shape)
        places, peaks = self._source.held(lambda source: self._peaks(source, images, needed, rows, chosen))
        sides = sorted({each.side for each in places.values()} - {0})
        seen = self._patches(images, needed, sides) if sides else {}
        table, start = [], 0
        for layer, units in zip(self.layers.itertuples(), chosen, strict=True):
            part = slice(start, start := start + len(units))
            table.append(self._row_of(layer, places[str(layer.layer)], seen, rows[part], peaks[part]))
        write_parquet(path, pd.DataFrame(table, columns=COLUMNS))

    @property
    def _source(self) -> Source:
        folders = self.folders
        return Source.noted(self.row, self.params, folders.activations, folders.models, folders.code)

    def _chosen(self) -> tuple[list[NDArray[np.int64]], NDArray[np.int32]]:
        """Of each layer which of the network's units are looked at, and their images (all of them, n_explaining + n_asked)."""
        n = self.n_explaining + self.n_asked
        ends = read_ends(self.folders.activations, self.folders.tasks, self.name, self.layers, n, 1)
        chosen, start = [], 0
        for layer, width in zip(self.layers["layer"], self.layers["width"], strict=True):
            units = start + np.flatnonzero(ends.scored[start : start + width])
            rng = np.random.default_rng(key64(self.params.seed, self.name, str(layer), "localizability"))
            chosen.append(np.sort(rng.permutation(units)[:N_UNITS]))
            start += width
        return chosen, ends.top[np.concatenate(chosen)]

    def _peaks(
        self,
        source: Source,
        images: ImageSet,
        needed: NDArray[np.int32],
        rows: NDArray[np.int64],
        chosen: Sequence[NDArray[np.int64]],
    ) -> tuple[dict[str, Any], NDArray[np.int64]]:
        """Places of each layer, and cells of the peaks of the chosen units on their images."""
        from interpretability.label_free.localizability import PeakCapture

        units, peaks, places = np.concatenate(chosen), np.full(rows.shape, -1, dtype=np.int64), {}
        for shown, _, capture in source.captured(images, needed, PeakCapture):
            if capture.n_units != self.layers["width"].sum():
                raise StudyError(
                    f"{self.name}: it has {capture.n_units} units, and {self.folders.activations} holds extremes of "
                    f"{self.layers['width'].sum()}, found by other code or of another network; run `dvc repro`"
                )
            cells, first = capture.cells.cpu().numpy(), int(shown[0])
            unit, rank = np.nonzero((rows >= first) & (rows < first + len(shown)))
            peaks[unit, rank] = cells[rows[unit, rank] - first, units[unit]]
            places = capture.places
        return places, peaks

    def _patches(
        self, images: ImageSet, needed: NDArray[np.int32], sides: Sequence[int]
    ) -> dict[int, NDArray[np.float32]]:
        """Patches of the encoder in each grid, rows of length 1, of all needed images."""
        import torch

        from interpretability.label_free.localizability import centred_rows, patches

        network = load_network(self.encoder, self.folders.models, self.folders.code, self.params.seed)
        view, model = network.preprocessing, network.model.to(device()).eval()
        if torch.device(device()).type == "cuda":
            exact(device())
        found: dict[int, NDArray[np.float32]] = {}
        feed = Feed(
            Chosen(images, needed), [view], self.params.activations.batch_size, device(), threads=decoders(device())
        )
        for places, batches in feed:
            try:
                parts = patches(model, view.normalised(batches[view]), sides)
            except InputError as error:
                raise StudyError(
                    f"{self.encoder['name']}, whose patches would be compared: {message_of(error)}; name another network as "
                    "scores.encoder.model, or empty label_free.localizability"
                ) from None
            for side, part in parts.items():
                if side not in found:
                    found[side] = np.empty((len(needed), *part.shape[1:]), dtype=np.float32)
                    self._check_memory(len(needed), sum(side**2 for side in sides) * part.shape[2])
                found[side][places] = part[: len(places)].cpu().numpy()
        return {side: centred_rows(part) for side, part in found.items()}

    def _check_memory(self, n_images: int, numbers: int) -> None:
        if (size := 2 * 4 * n_images * numbers) > self.budget:  # once as read, once as rows
            raise StudyError(
                f"{self.name}: patches of the {n_images:,} images of its units take {in_words(size)}, more than the "
                f"{in_words(self.budget)} of a worker; raise MIS_MEMORY_GB, let fewer workers run (MIS_WORKERS), or take it out "
                "of label_free.localizability"
            )

    def _row_of(
        self,
        layer: Any,
        places: Any,
        seen: dict[int, NDArray[np.float32]],
        rows: NDArray[np.int64],
        peaks: NDArray[np.int64],
    ) -> dict[str, Any]:
        """The table's row of a layer, from rows of the patches and cells of the peaks of its units."""
        from interpretability.label_free.localizability import COLUMNS as OF_UNITS
        from interpretability.label_free.localizability import NO_VARIANCE, localizability

        row = _described(self.name, layer) | {"places": places.kind, "grid": places.side, "reason": places.reason}
        if places.reason or not len(rows):
            return row if places.reason else row | {"reason": "no unit has tasks"}
        k, seed = self.n_explaining, key64(self.params.seed, self.name, str(layer.layer))
        of_units = localizability(seen[places.side], rows[:, :k], rows[:, k:], peaks[:, :k], peaks[:, k:], seed)
        whole = of_units[of_units["score"].notna()]
        if whole.empty:
            return row | {"reason": NO_VARIANCE}
        spread = whole["score"].std(ddof=1) / np.sqrt(len(whole)) if len(whole) > 1 else np.nan
        return row | {"n_units": len(whole), **{name: whole[name].mean() for name in OF_UNITS}, "score_se": spread}


def _described(model: str, layer: Any) -> dict[str, Any]:
    """A row of the table without scores."""
    facts = {"model": model, "layer": str(layer.layer), "layer_type": str(layer.layer_type), "depth": layer.depth}
    return facts | {"places": "", "grid": 0, "n_units": 0, **dict.fromkeys(SCORES, np.nan), "reason": ""}


def localized_layers(params: LabelFreeParams, folders: Folders) -> tuple[pd.DataFrame, list[Failed]]:
    """COLUMNS, a row a layer of every network that label_free.localizability names, and the networks that failed.

    Raises StudyError for a name that is no network's of the study.
    """
    wanted = params.label_free.localizability
    if not wanted:
        return _empty(), []
    layers = read_parquet(folders.activations / "layers.parquet")
    roster = read_roster(folders.models / "roster.csv")
    known = list(dict.fromkeys(layers["model"]))
    known += [
        name
        for folder in (folders.models, folders.activations)
        for name in read_csv(folder / "failures.csv", text=["model"])["model"]
    ]
    if unknown := [name for name in wanted if not any(fnmatchcase(network, name) for network in known)]:
        raise StudyError(
            f"label_free.localizability names {unknown[0]!r}, which is no network with units; * stands for any text. Allowed: "
            f"{', '.join(known)}"
        )
    everyone = rows_of(roster)
    named = [row for row in everyone if any(fnmatchcase(row["name"], name) for name in wanted)]
    named = [row for row in named if (layers["model"] == row["name"]).any()]
    of_layers = {row["name"]: layers[layers["model"] == row["name"]] for row in named}
    jobs = _jobs(params, folders, [row for row in named if not is_computed(row)], everyone, of_layers)
    results = run_all(jobs, "localizability", log, each=lambda job, result: log_failure(log, job, result))
    parts, failures = {}, []
    for job, result in zip(jobs, results, strict=True):
        if isinstance(result, Failure):
            failures.append({"model": job.name, "stage": "label_free", "reason": result.reason_without(job.name)})
        else:
            parts[job.name] = read_parquet(result)
    for row in named:
        if is_computed(row):
            rows = [
                _described(row["name"], layer) | {"reason": _NO_MAPS} for layer in of_layers[row["name"]].itertuples()
            ]
            parts[row["name"]] = pd.DataFrame(rows, columns=COLUMNS)
    found = [parts[row["name"]] for row in named if row["name"] in parts]
    return pd.concat(found, ignore_index=True) if found else _empty(), failures


def _jobs(
    params: LabelFreeParams,
    folders: Folders,
    rows: Sequence[RosterRow],
    everyone: Sequence[RosterRow],
    of_layers: dict[str, pd.DataFrame],
) -> list[LocalizabilityJob]:
    if not rows:
        return []
    why = "label_free.localizability compares patches of the network behind similarity encoder"
    encoder = encoder_model(params.scores.encoder.model, everyone, str(folders.models / "roster.csv"), why)
    seeing = next(row for row in everyone if row["name"] == encoder)
    summary, budget = read_json(folders.tasks / "summary.json"), memory_budget()
    sizes = summary["n_tasks"] * summary["n_explanations"], summary["n_tasks"]
    return [
        LocalizabilityJob(row, seeing, of_layers[row["name"]], params, folders, *sizes, budget=budget) for row in rows
    ]


def _empty() -> pd.DataFrame:
    text = {"model", "layer", "layer_type", "places", "reason"}
    kinds = dict.fromkeys(COLUMNS, np.float64) | dict.fromkeys(text, "str") | {"grid": np.int64, "n_units": np.int64}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
