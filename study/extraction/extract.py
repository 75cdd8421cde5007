"""All networks of the roster through their passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from study.extraction import compiling, grouping, passes
from study.extraction.compiled_ahead import compiled_ahead
from study.extraction.computed import computed_facts
from study.extraction.controls import network_facts
from study.extraction.job import Extracted, Extraction, NetworkFacts, sees_pack
from study.files.store import WorkStore, link_out
from study.images.manifest import ImageSet
from study.images.packs import pack_files
from study.log import logger
from study.networks.roster import is_computed
from study.workers.device import Failure, guarded
from study.workers.jobs import log_failure, run_all

log = logger("activations")

Ended = tuple[str, NetworkFacts | Failure]  # with the name of a network or control


@dataclass(frozen=True)
class ExtractionJob:
    """Networks that share a pass, or one control or table; their extremes go into the out.

    `ahead`: networks of a later pass, to be compiled meanwhile.
    """

    extractions: tuple[Extraction, ...]
    ahead: tuple[Extraction, ...] = ()

    @property
    def name(self) -> str:
        return ", ".join(extraction.name for extraction in self.extractions)

    @property
    def size(self) -> float:
        return len(self.extractions)

    def run(self) -> list[NetworkFacts | Failure]:
        if is_computed(self.extractions[0].row):
            return [guarded(computed_facts, extraction) for extraction in self.extractions]
        with compiled_ahead(self.ahead):
            found = passes.extract(self.extractions)
        return [
            extracted if isinstance(extracted, Failure) else guarded(partial(_put_out, extracted), extraction)
            for extraction, extracted in zip(self.extractions, found, strict=True)
        ]


def extract_all(extractions: Sequence[Extraction], images: ImageSet) -> list[Ended]:
    """Name and facts of every network and control, or why it failed, in the order in which they ended."""
    ended: list[Ended] = []
    jobs = _jobs(extractions, images)
    while jobs:
        jobs = _run(jobs, ended)
    return ended


def _jobs(extractions: Sequence[Extraction], images: ImageSet) -> list[ExtractionJob]:
    """Networks in passes; those in the store, controls and tables each alone, and before passes: some take seconds, for which
    other workers would wait at the end.
    """
    computed = [extraction for extraction in extractions if is_computed(extraction.row)]
    networks = [extraction for extraction in extractions if not is_computed(extraction.row)]
    compiling.count_ahead(networks)
    store = WorkStore.open()
    stored = [grouping.in_store(extraction, images, store) for extraction in networks]
    if any(stored):
        log.info("%d of %d networks are in the store", sum(stored), len(networks))
    missing = _packed([one for one, there in zip(networks, stored, strict=True) if not there], images)
    alone = [one for one, there in zip(networks, stored, strict=True) if there]
    shared = grouping.shared_passes(missing, len(images))
    later = [compiling.of_later_pass(shared, index, len(images)) for index in range(len(shared))]
    return [
        *(ExtractionJob((one,)) for one in (*alone, *computed)),
        *(ExtractionJob(tuple(part), ahead) for part, ahead in zip(shared, later, strict=True)),
    ]


def _run(jobs: Sequence[ExtractionJob], ended: list[Ended]) -> list[ExtractionJob]:
    """Add what has ended; returns the networks that are to run again, alone, so that only the cause fails."""
    again = []

    def note(job: ExtractionJob, results: list[NetworkFacts | Failure] | Failure) -> None:
        lost = isinstance(results, Failure)  # as a whole: its worker died
        for extraction, result in zip(
            job.extractions, [results] * len(job.extractions) if lost else results, strict=True
        ):
            if len(job.extractions) > 1 and (lost or _lacked_memory(result)):
                again.append(ExtractionJob((extraction,)))
            else:
                log_failure(log, extraction, result)
                ended.append((extraction.name, result))

    run_all(jobs, "networks", log, each=note)
    return again


def _lacked_memory(result: NetworkFacts | Failure) -> bool:
    from interpretability.networks.memory import lacks_memory

    return isinstance(result, Failure) and lacks_memory(result.reason)


def _packed(extractions: Sequence[Extraction], images: ImageSet) -> list[Extraction]:
    """The same networks; those that may see a pack of smaller images with its files, made first."""
    wants = [guarded(sees_pack, extraction) is True for extraction in extractions]
    files = pack_files(images, extractions[0].params.activations.pack) if any(wants) else ()
    return [replace(one, packed=files) if want else one for one, want in zip(extractions, wants, strict=True)]


def _put_out(extracted: Extracted, extraction: Extraction) -> NetworkFacts:
    """Facts of a network whose files lie in the out."""
    link_out(extracted.path, extraction.out / f"{extraction.name}.safetensors")
    if extracted.kept:
        link_out(extracted.kept, extraction.out / "kept" / f"{extraction.name}.parquet")
    if extracted.explained:
        link_out(extracted.explained, extraction.out / "explained" / f"{extraction.name}.parquet")
    return {
        **network_facts(extraction, extracted.layers),
        "left_out": extracted.left_out,
        "directions": [{"model": extraction.name, **each} for each in extracted.directions],
        "device": extracted.device,
        "pieces": extracted.pieces,
        "form": extracted.form,
        "ran_in": "" if extracted.precision == extraction.params.activations.precision else extracted.precision,
        "timing": extracted.timing,
    }
