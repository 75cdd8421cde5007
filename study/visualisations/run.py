"""Images of all chosen units made by workers, and the tables of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpretability.schema import MADE_SIDES
from study.errors import StudyError
from study.images.manifest import ImageSet, check_unchanged, open_images
from study.log import logger
from study.networks.failures import Failed
from study.visualisations.job import MakingJob, Result, settings_of
from study.visualisations.medians import sample_of
from study.visualisations.naming import Chosen, LeftOut, Unit, chosen_units
from study.visualisations.parameters import Folders, VisualisationParams
from study.visualisations.writing import write_made
from study.workers.device import Failure
from study.workers.jobs import log_failure, run_all

log = logger("visualisations")


@dataclass
class MadeUnits:
    """Rows of the tables, as they are written, and by network the files that hold the pixels."""

    images: ImageSet
    params: VisualisationParams
    rows: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, list[Path]] = field(default_factory=dict)
    units: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)
    made_on: set[str] = field(default_factory=set)

    def add(self, model: str, unit: Unit, results: Sequence[tuple[MakingJob, Path | Failure]]) -> None:
        """A unit with the results of all its seed sets and sides: its images count if none of them failed."""
        failed = [(job, result.reason_without(job.name)) for job, result in results if isinstance(result, Failure)]
        if failed:
            job, reason = failed[0]
            told = f"{job.side} of seed set {job.seed_set}: {reason}"
            self.failures.append(
                {"model": model, "stage": "visualisations", "reason": f"{unit.layer}/{unit.unit}, {told}"}
            )
            self.left_out.append(
                {"model": model, "layer": unit.layer, "unit": unit.unit, "reason": f"it failed ({told})"}
            )
            return
        for job, path in results:
            assert not isinstance(path, Failure)
            self._add_side(model, job, Result.read(path))
            self.files.setdefault(model, []).append(path)

    def _add_side(self, model: str, job: MakingJob, result: Result) -> None:
        unit = job.unit
        key = {"model": model, "layer": unit.layer, "unit": unit.unit, "seed_set": job.seed_set, "side": job.side}
        for position, (value, diverse) in enumerate(zip(result.values, result.diverse, strict=True)):
            self.rows.append({**key, "position": position, "value": value, "diverse": bool(diverse)})
        best, weakest = result.best_and_weakest(job.side)
        facts = {name: getattr(unit, name) for name in ("layer_type", "layer_index", "depth")}
        whole = {name: int(result.numbers[name]) for name in ("passes", "in_imi")}
        numbers = {**result.numbers, **whole, "position_bound": bool(result.numbers["position_bound"])}
        self.units.append({**key, **facts, "status": result.status, "best": best, "weakest": weakest, **numbers})
        self.made_on.add(result.made_on)

    def write(self, folder: Path) -> None:
        """All files of the stage into an empty folder."""
        group = self.params.visualisations
        settings = {**asdict(settings_of(group)), "n_sets": group.n_sets}
        write_made(
            folder,
            self.rows,
            {model: _pixels(paths) for model, paths in self.files.items()},
            self.units,
            manifest=self.images.digest,
            n_natural=len(self.images),
            left_out=self.left_out,
            failures=self.failures,
            note={
                "settings": settings,
                "n_median": len(sample_of(self.params, len(self.images))),
                "made_on": sorted(self.made_on),
            },
        )


def _pixels(paths: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
    """Images of files of jobs, a file in memory at a time."""
    for path in paths:
        yield from Result.read(path).pixels


def jobs_of(params: VisualisationParams, folders: Folders, chosen: Sequence[Chosen]) -> list[MakingJob]:
    """Jobs in the order of their rows: network, unit, seed set, side."""
    return [
        MakingJob(each.row, each, unit, side, seed_set, params, folders)
        for each in chosen
        for unit in each.units
        for seed_set in range(params.visualisations.n_sets)
        for side in MADE_SIDES
    ]


def make_all(params: VisualisationParams, folders: Folders) -> MadeUnits:
    """Images of every unit that visualisations.units names. A unit that fails is told, and the others go on.

    Raises StudyError where all fail.
    """
    images = open_images(folders.images, params.images.root)
    made = MadeUnits(images, params)
    if not params.visualisations.units:
        return made
    check_unchanged(images)
    chosen, made.left_out = chosen_units(params.visualisations.units, folders)
    jobs = jobs_of(params, folders, chosen)
    results = run_all(jobs, "sides of units", log, each=lambda job, result: log_failure(log, job, result))
    for model, unit, part in _by_unit(jobs, results):
        made.add(model, unit, part)
    if jobs and not made.units:
        raise StudyError(
            f"every unit of visualisations.units failed; {made.failures[0]['model']}: {made.failures[0]['reason']}"
        )
    _tell(made)
    return made


def _by_unit(
    jobs: Sequence[MakingJob], results: Sequence[Path | Failure]
) -> Iterator[tuple[str, Unit, list[tuple[MakingJob, Path | Failure]]]]:
    """Network, unit, and the jobs of this unit with their results."""
    of_unit: dict[tuple[str, Unit], list[tuple[MakingJob, Path | Failure]]] = {}
    for job, result in zip(jobs, results, strict=True):
        of_unit.setdefault((job.row["name"], job.unit), []).append((job, result))
    for (model, unit), part in of_unit.items():
        yield model, unit, part


def _tell(made: MadeUnits) -> None:
    """How many sides beat nature, and what has no images."""
    counts = Counter(row["status"] for row in made.units)
    told = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(counts.items()))
    log.info("%d images of %d sides: %s", len(made.rows), len(made.units), told or "nothing was made")
    if made.left_out:
        first = made.left_out[0]
        log.warning(
            "%d units that visualisations.units names have no images, first %s/%s/%s: %s",
            *(len(made.left_out), first["model"], first["layer"], first["unit"], first["reason"]),
        )
