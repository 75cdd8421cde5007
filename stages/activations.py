"""Find the most and least exciting images of every unit of every network, in one pass over the images.

Reads   data/images, data/models, matrices named in `directions`, data/external/human/units (activations.keep_file)
Writes  data/activations: NAME.safetensors (extremes and statistics of every unit), layers.parquet, control_labels.csv,
        kept/NAME.parquet (whole columns of the units to keep), run.json, failures.csv
        data/notes/activations: copies of the small tables, for stages that need no extremes
Run     dvc repro activations          Resumes from the work store; safe to interrupt.
        python -m stages.activations --plan    what would run, how long it takes and how large it gets; computes nothing
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from stages import control_units, passes, schedule
from stages.errors import StudyError
from stages.packing import pack
from stages.passes import Job
from stages.pipeline import networks, unit_lists
from stages.pipeline.log import Progress, logger, run
from stages.pipeline.params import load_params
from stages.pipeline.pictures import ImageSet, check_unchanged, open_images
from stages.pipeline.store import WorkStore, link_out
from stages.pipeline.tables import FACTS, copy_notes, fresh_folder, write_csv, write_json, write_parquet
from stages.pipeline.workers import Failure, guarded, run_jobs

log = logger("activations")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--images", type=Path, default=Path("data/images"))
    parser.add_argument("--models", type=Path, default=Path("data/models"))
    parser.add_argument("--code", type=Path, default=Path("data/external/code"))
    parser.add_argument("--units", type=Path, default=Path("data/external/human/units"), help="folder of unit lists")
    parser.add_argument("--out", type=Path, default=Path("data/activations"))
    parser.add_argument("--notes", type=Path, help="folder for copies of the small tables")
    parser.add_argument("--plan", action="store_true", help="say what would run, how long and how large, and end")
    args = parser.parse_args(argv)
    params = load_params(args.params)
    roster = networks.read_roster(args.models / "roster.csv")
    roster = roster[roster["role"] != "similarity"]
    names = roster["name"][~roster["constructor"].str.startswith("control:")].tolist()
    unit_lists.check_networks(params.activations.keep, names, args.models / "roster.csv")
    listed = unit_lists.read_list(args.units / params.activations.keep_file) if params.activations.keep_file else []
    if absent := {model for model, *_ in listed} - set(names):
        log.warning("%s lists units of networks that are not studied: %s", params.activations.keep_file, sorted(absent))
    images = open_images(args.images, params.images.root)
    check_unchanged(images)

    def job(row: dict[str, Any], base: Sequence[dict[str, Any]] = ()) -> Job:
        own = tuple(unit for unit in listed if unit[0] == row["name"])
        return Job(row, params, args.images, args.models, args.code, args.out, tuple(base), own)

    if args.plan:
        print(schedule.plan([job(row) for row in roster.to_dict("records") if not networks.is_planted(row)], images))
        return
    out = fresh_folder(args.out)
    (out / "kept").mkdir()
    # a permuted control starts from the finished extremes of its network, so it goes second
    permuted = roster["constructor"] == "control:permuted"
    layers, labels, failures, kinds, pieces, timings = [], [], [], set(), {}, []
    progress = Progress(log, len(roster), "networks")
    for part in (roster[~permuted], roster[permuted]):
        jobs = [
            job(row, [each for each in layers if each["model"] == networks.base(row)])
            for row in part.to_dict("records")
        ]
        for each, result in _all(jobs, images):
            name = each.row["name"]
            if isinstance(result, Failure):
                reason = result.reason.removeprefix(f"{name}: ")
                log.warning("%s failed: %s", name, reason)
                failures.append({"model": name, "stage": "activations", "reason": reason})
            else:
                layers += result["layers"]
                labels += result["labels"]
                kinds.add(result["device"])
                timings.append({"name": name, **result["timing"]})
                if result["pieces"] > 1:
                    pieces[name] = result["pieces"]
            progress.step(note=name)
    log.info("%s", schedule.summary(timings, len(images)))
    order = {name: place for place, name in enumerate(roster["name"])}
    table = pd.DataFrame(layers, columns=["model", "layer", *FACTS, "offset"])
    table = table.sort_values(
        ["model", "offset"], key=lambda column: column.map(order) if column.name == "model" else column
    )
    write_parquet(out / "layers.parquet", table)
    label_table = pd.DataFrame(labels, columns=["model", "layer", "unit", "label"])
    write_csv(out / "control_labels.csv", label_table.sort_values(["model", "layer", "unit"]))
    write_csv(
        out / "failures.csv",
        pd.DataFrame(failures, columns=["model", "stage", "reason"]).sort_values("model"),
    )
    # batches that ran in parts for want of memory: their last bits may be others than those of whole batches
    note = {"device_kinds": sorted(kinds), "n_images": len(images), "images": images.digest, "batches_in_parts": pieces}
    write_json(out / "run.json", note)
    copy_notes(out, ["control_labels.csv", "failures.csv", "run.json"], args.notes)
    if len(failures) > params.activations.max_failed * len(roster):
        listed_failures = "".join(f"\n  {row['model']}: {row['reason']}" for row in failures)
        raise StudyError(
            f"{len(failures)} of {len(roster)} networks failed; activations.max_failed allows a share of "
            f"{params.activations.max_failed:g}:{listed_failures}\nPut that right, remove their rows from the roster, or raise "
            "the limit; the other networks are in the store and not computed again"
        )


def _all(jobs: list[Job], images: ImageSet) -> Iterator[tuple[Job, dict[str, Any] | Failure]]:
    """Jobs and their results as they end: networks in passes, controls each alone."""
    controls = [[job] for job in jobs if networks.is_planted(job.row)]
    studied = [job for job in jobs if not networks.is_planted(job.row)]
    store = WorkStore.open()
    there = [schedule.in_store(job, images, store) for job in studied]
    if any(there):
        log.info("%d of %d networks are in the store", sum(there), len(studied))
    missing = _packed([job for job, known in zip(studied, there, strict=True) if not known], images)
    found = [[job] for job, known in zip(studied, there, strict=True) if known]
    waiting = found + schedule.share_passes(missing, len(images)) + controls
    while waiting:
        again = []
        for place, results in run_jobs(
            _extract, waiting, [", ".join(each.row["name"] for each in part) for part in waiting]
        ):
            part = waiting[place]
            lost = isinstance(results, Failure)  # as a whole: its worker died
            for job, result in zip(part, [results] * len(part) if lost else results, strict=True):
                if len(part) > 1 and (lost or _lacked_memory(result)):
                    again.append([job])  # alone, and then only the cause fails
                else:
                    yield job, result
        waiting = again


def _lacked_memory(result: dict[str, Any] | Failure) -> bool:
    from stages.science.units import lacks_memory

    return isinstance(result, Failure) and lacks_memory(result.reason)


def _packed(jobs: list[Job], images: ImageSet) -> list[Job]:
    """The same jobs; those of networks that may see a pack of smaller pictures with its files, made first."""
    wants = [guarded(passes.packs, job) is True for job in jobs]
    files = pack(images, jobs[0].params.activations.pack) if any(wants) else ()
    return [replace(job, packed=files) if want else job for job, want in zip(jobs, wants, strict=True)]


def _extract(jobs: list[Job]) -> list[dict[str, Any] | Failure]:
    """Put the extremes of the networks of a pass, or of one control, into the out; layers, labels and device of each."""
    if not networks.is_planted(jobs[0].row):
        found = passes.extract(jobs)
        return [
            each if isinstance(each, Failure) else guarded(partial(_place, each), job)
            for job, each in zip(jobs, found, strict=True)
        ]
    return [guarded(control_units.make, job) for job in jobs]


def _place(found: passes.Extracted, job: Job) -> dict[str, Any]:
    name = job.row["name"]
    link_out(found["path"], job.out / f"{name}.safetensors")
    if found["kept"]:
        link_out(found["kept"], job.out / "kept" / f"{name}.parquet")
    timing = {each: found[each] for each in ("computed", "seconds", "forward") if each in found}
    return control_units.facts(job, found["layers"], device=found["device"], pieces=found["pieces"], timing=timing)


if __name__ == "__main__":
    run(main)
