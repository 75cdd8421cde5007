"""Rows of a roster resolved: networks constructed, trained where they are to be, tried out and digested."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import StudyError
from study.log import logger
from study.networks import activation_tables, own_code, roster, trial
from study.networks.building import load_network
from study.networks.described import described
from study.networks.failures import Failed
from study.networks.roster import NetworkJob, RosterRow
from study.networks.settings import NetworkParams
from study.networks.similarity import BACKEND, first_similarity
from study.networks.training import Training
from study.workers.device import Failure
from study.workers.jobs import devices, log_failure, run_all

if TYPE_CHECKING:
    from interpretability.networks.network import Network
    from study.networks.recipes.rows import FromImages

log = logger("models")


@dataclass(frozen=True)
class ResolveJob(NetworkJob):
    """Resolved rows of one roster row: one, or one a training step. Checkpoints of a training go to `out`."""

    params: NetworkParams
    images: Path
    code: Path
    out: Path
    encoder: bool = False  # whether it stands behind the similarity of that name

    def run(self) -> list[RosterRow]:
        row: RosterRow = {**self.row, "code": ""}
        if roster.is_control(row):
            return [{**row, "last": 1, "n_params": 0, "input_size": ""}]
        if roster.is_table(row):
            digest = activation_tables.source_of(row).digest
            return [{**row, "sha256": digest, "last": 1, "n_params": math.nan, "input_size": ""}]
        if row["weights"] == "trained":
            return self._training(row).rows()
        network = load_network(row, self.out, self.code, self.params.seed)
        trial.try_out(row, network, self.params.units, self.params.seed)
        if self.encoder:
            trial.try_as_encoder(network, self.params.scores.encoder.layer, self.params.seed)
        self._refuse_chance(row, network)
        code = own_code.record(row, self.code, network.model)
        own_code.note_outside(row, self.code, code)
        return [described({**row, "code": code}, network, row["sha256"] or network.digest, last=1)]

    def _training(self, row: RosterRow) -> Training | FromImages:
        if not self.by_recipe:
            return Training(row, self.params, self.images, self.code, self.out)
        from study.networks.recipes.rows import FromImages  # loads what most studies do not need

        return FromImages(row, self.params, self.images, self.code, self.out)

    @property
    def by_recipe(self) -> bool:
        """Whether its network learns the images of the study and their labels."""
        return (
            self.row["weights"] == "trained" and self.row["role"] == "study" and self.params.models.training.by_recipe
        )

    def _refuse_chance(self, row: RosterRow, network: Network) -> None:
        """Load a network of someone's own code once more: no later stage shall be the first to see that it differs."""
        if not own_code.module_of(row) or row["weights"] not in ("hub", "none"):
            return
        again = load_network(row, self.out, self.code, self.params.seed).digest
        if again != network.digest:
            raise StudyError(
                f"{row['name']}: two loads of it have different weights, so no other stage would see the network studied. "
                "Its code draws from a generator of its own or from the clock; the generators of torch, numpy and Python's "
                "random are set before it is built, so let it draw from these, or save its weights to a file"
            )


@dataclass(frozen=True)
class ReadingJob(NetworkJob):
    """The row of a network that is read in other directions or at another size, resolved but for these: they are tried out."""

    params: NetworkParams
    code: Path
    out: Path

    def run(self) -> list[RosterRow]:
        network = load_network(self.row, self.out, self.code, self.params.seed)
        trial.try_out(self.row, network, self.params.units, self.params.seed)
        if roster.is_resized(self.row):
            return [described(self.row, network, self.row["sha256"], last=1)]
        return [self.row]


def resolve_all(
    rows: list[RosterRow], params: NetworkParams, images: Path, code: Path, out: Path
) -> tuple[list[RosterRow], list[Failed]]:
    """Resolved rows of a roster in its order, and its networks that failed.

    Rows that read the network of another row come after all others, whose resolved rows they need.
    """
    scores = params.scores
    encoder = (scores.encoder.model or first_similarity(rows)) if BACKEND in scores.backends else None
    if encoder:
        log.info("encoder: %s", encoder)
    own = [
        ResolveJob(row, params, images, code, out, row["name"] == encoder) for row in rows if not roster.base_of(row)
    ]
    results = _run(own)
    last = {
        job.name: result[-1] for job, result in zip(own, results.values(), strict=True) if not isinstance(result, str)
    }
    ready = [row for row in rows if roster.base_of(row) in last]
    results |= _run([ReadingJob(roster.reading(row, last[roster.base_of(row)]), params, code, out) for row in ready])
    resolved: list[RosterRow] = []
    failures: list[Failed] = []
    for row in rows:
        result = results.get(row["name"])
        if result is None:
            how = "in other directions" if row["directions"] else "at another size of input"
            result = f"it reads {roster.base_of(row)} {how}, which failed itself; see the reason of that row"
            log.warning("%s failed: %s", row["name"], result)
        if isinstance(result, str):
            failures.append({"model": row["name"], "stage": "models", "reason": result})
        else:
            resolved += result
    return resolved, failures


def refuse_other_encoder(rows: Sequence[RosterRow], failures: Sequence[Failed], params: NetworkParams) -> None:
    """Raise StudyError if the network failed that stands behind the similarity `encoder` by its place in a roster alone: else
    the next one would stand in for it, and all scores be of another measure.
    """
    scores = params.scores
    if BACKEND not in scores.backends or scores.encoder.model:
        return
    first = first_similarity(rows)
    for failed in failures:
        if failed["model"] == first:
            raise StudyError(
                f"{first} failed: {failed['reason']}. scores.encoder.model is empty, so the similarity {BACKEND} takes the first "
                f"network of role {roster.SIMILARITY}, which is {first}; put that right, remove its row, or name another "
                "network in scores.encoder.model"
            )


def _run(jobs: Sequence[ResolveJob | ReadingJob]) -> dict[str, list[RosterRow] | str]:
    """The resolved rows of each job by the name of its row, or why it failed.

    They load weights, train small networks and run two images: work for cores, not for the few workers of GPUs. Code of
    someone's own alone may want the device that it was written for. A training by a recipe takes all GPUs of its machine, so
    where there are any such trainings come one after the other.
    """
    found: dict[str, list[RosterRow] | str] = {}

    def run(part: Sequence[ResolveJob | ReadingJob], *, on_cpu: bool) -> None:
        results = run_all(part, "networks", log, on_cpu=on_cpu, each=partial(log_failure, log)) if part else []
        for job, result in zip(part, results, strict=True):
            found[job.name] = result.reason_without(job.name) if isinstance(result, Failure) else result

    alone = [job for job in jobs if isinstance(job, ResolveJob) and job.by_recipe and devices()[0] != "cpu"]
    others = [job for job in jobs if job not in alone]
    wants_gpu = [bool(own_code.module_of(job.row)) and devices()[0] != "cpu" for job in others]
    for on_cpu in (True, False):
        run([job for job, wants in zip(others, wants_gpu, strict=True) if wants is not on_cpu], on_cpu=on_cpu)
    for job in alone:
        run(
            [job], on_cpu=devices()[0] != "cuda"
        )  # a worker of a cluster has GPUs; here the stage starts processes for them
    return {job.name: found[job.name] for job in jobs}


def refuse_untrainable(rows: Sequence[RosterRow], params: NetworkParams, path: Path) -> None:
    """Raise StudyError for weights `trained` that nothing trains: on photographs a recipe does, and studied networks alone."""
    wanted = [row for row in rows if row["weights"] == "trained"]
    if not wanted or params.images.source == "generated":
        return
    if not params.models.training.by_recipe:
        raise StudyError(
            f"{path}: weights `trained` needs images.source generated, or models.training.recipe a3, which learns the labels of "
            "any images; name a file, hub or none"
        )
    others = [row for row in wanted if row["role"] != "study"]
    if others:
        raise StudyError(
            f"{path}: {others[0]['name']} has weights `trained` and the role {others[0]['role']}; of photographs only networks "
            "of role study are trained: name a file, hub or none"
        )
