"""Find the most and least exciting images of every unit of every network, in one pass over the images.

Reads   data/images, data/models, matrices named in `directions`, data/external/human/units (activations.keep_file)
Writes  data/activations: NAME.safetensors (extremes and statistics of every unit), layers.parquet, control_labels.csv,
        kept/NAME.parquet (whole columns of the units to keep), run.json, failures.csv
        data/notes/activations: copies of the small tables, for stages that need no extremes
Run     dvc repro activations          Resumes from the work store; safe to interrupt.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages import passes
from stages.errors import StudyError
from stages.passes import Job
from stages.pipeline import networks, unit_lists
from stages.pipeline.log import Progress, logger, run
from stages.pipeline.params import load_params
from stages.pipeline.pictures import check_unchanged, open_images, rows_in_batches
from stages.pipeline.tables import FACTS, atomic_path, copy_notes, fresh_folder, write_csv, write_json, write_parquet
from stages.pipeline.workers import Failure, guarded, run_jobs

log = logger("activations")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--code", type=Path, required=True)
    parser.add_argument("--units", type=Path, default=Path("data/external/human/units"), help="folder of unit lists")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--notes", type=Path, help="folder for copies of the small tables")
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
    out = fresh_folder(args.out)
    (out / "kept").mkdir()
    # a permuted control starts from the finished extremes of its network, so it goes second
    permuted = roster["constructor"] == "control:permuted"
    layers, labels, failures, kinds = [], [], [], set()
    progress = Progress(log, len(roster), "networks")
    for part in (roster[~permuted], roster[permuted]):
        rows = part.to_dict("records")
        jobs = [
            Job(
                row, params, args.images, args.models, args.code, out,
                tuple(each for each in layers if each["model"] == _base(row)),
                tuple(unit for unit in listed if unit[0] == row["name"]),
            )
            for row in rows
        ]  # fmt: skip
        for job, result in _all(jobs):
            name = job.row["name"]
            if isinstance(result, Failure):
                reason = result.reason.removeprefix(f"{name}: ")
                log.warning("%s failed: %s", name, reason)
                failures.append({"model": name, "stage": "activations", "reason": reason})
            else:
                layers += result["layers"]
                labels += result["labels"]
                kinds.add(result["device"])
            progress.step(note=name)
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
    write_json(out / "run.json", {"device_kinds": sorted(kinds), "n_images": len(images), "images": images.digest})
    copy_notes(out, ["control_labels.csv", "failures.csv", "run.json"], args.notes)
    if len(failures) > params.activations.max_failed * len(roster):
        listed = "".join(f"\n  {row['model']}: {row['reason']}" for row in failures)
        raise StudyError(
            f"{len(failures)} of {len(roster)} networks failed; activations.max_failed allows a share of "
            f"{params.activations.max_failed:g}:{listed}\nPut that right, remove their rows from the roster, or raise the "
            "limit; the other networks are in the store and not computed again"
        )


def _all(jobs: list[Job]) -> Iterator[tuple[Job, dict[str, Any] | Failure]]:
    """Jobs and their results as they end: networks in passes, controls each alone."""
    controls = [[job] for job in jobs if networks.is_planted(job.row)]
    studied = [job for job in jobs if not networks.is_planted(job.row)]
    places = passes.grouped([job.row["preprocessing"] for job in studied], passes.networks_a_pass(len(studied) or 1))
    waiting = [[studied[place] for place in together] for together in places] + controls
    while waiting:
        again = []
        for place, results in run_jobs(
            _extract, waiting, [", ".join(each.row["name"] for each in part) for part in waiting]
        ):
            part = waiting[place]
            if isinstance(results, Failure) and len(part) > 1:
                again += [[job] for job in part]  # a worker died: each network runs alone, and only the cause fails
            else:
                yield from zip(part, [results] if isinstance(results, Failure) else results, strict=True)
        waiting = again


def _extract(jobs: list[Job]) -> list[dict[str, Any] | Failure]:
    """Write the extremes of the networks of a pass, or of one control; layers, control labels and device of each."""
    kind = jobs[0].row["constructor"]
    if not networks.is_planted(jobs[0].row):
        found = passes.extract(jobs)
    else:
        found = [guarded(_permuted if kind == "control:permuted" else _planted, job) for job in jobs]
    return [
        each if isinstance(each, Failure) else guarded(partial(_write, each), job)
        for job, each in zip(jobs, found, strict=True)
    ]


def _write(found: passes.Extracted, job: Job) -> dict[str, Any]:
    from safetensors.numpy import save_file

    described, content, labels = found
    with atomic_path(job.out / f"{job.row['name']}.safetensors") as part:
        save_file({name: np.ascontiguousarray(value) for name, value in content.items()}, part)
    offsets = np.cumsum([0, *(layer["width"] for layer in described)])
    layers = [
        {"model": job.row["name"], **layer, "offset": int(offset)}
        for layer, offset in zip(described, offsets, strict=False)
    ]
    return {"layers": layers, "labels": labels, "device": passes.device_kind()}


def _planted(job: Job) -> passes.Extracted:
    """Control units computed from factors (if there are any) and from keyed hashes."""
    from stages.science import controls, selection
    from stages.science.tasks import unit_keys

    images, name, seed = open_images(job.images, job.params.images.root), job.row["name"], job.params.seed
    kinds = {
        "control:planted": lambda: controls.planted(images.factors, seed),
        "control:chance": lambda: controls.chance(len(images), seed),
    }
    if job.row["constructor"] not in kinds:
        raise StudyError(
            f"{name}: constructor {job.row['constructor']!r} is no control; allowed: "
            f"{', '.join(kinds)}, control:permuted"
        )
    if job.row["constructor"] == "control:planted" and images.factors is None:
        raise StudyError(
            f"{name}: control:planted needs the factors of generated scenes; photographs allow control:chance"
        )
    found = kinds[job.row["constructor"]]()
    keys = np.concatenate([unit_keys(seed, name, layer.layer, np.arange(len(layer.labels))) for layer in found])
    values = np.concatenate([layer.values for layer in found], axis=1)
    extremes, moments = (
        selection.Extremes(keys, job.params.activations.n_extremes),
        selection.Moments(len(keys)),
    )
    for rows in rows_in_batches(len(images), job.params.activations.batch_size):
        extremes.update(values[rows], rows)
        moments.update(values[rows])
    top, bottom = extremes.keys()
    state = {"top": top, "bottom": bottom, "bins": moments.bins, "nonpositive": moments.nonpositive}
    layers = [
        {
            "layer": layer.layer,
            "layer_type": "Other",
            "layer_index": i,
            "depth": i / max(len(found) - 1, 1),
            "width": len(layer.labels),
        }
        for i, layer in enumerate(found)
    ]
    labels = [
        {"model": name, "layer": layer.layer, "unit": unit, "label": label}
        for layer in found for unit, label in enumerate(layer.labels)
    ]  # fmt: skip
    return layers, passes.summarised(state, keys, job.params.activations.n_extremes, len(images)), labels


def _base(row: dict[str, Any]) -> str:
    """Name of the network behind a permuted control."""
    return str(json.loads(row["kwargs"] or "{}").get("of", ""))


def _permuted(job: Job) -> passes.Extracted:
    """A network whose values are dealt to images at random, each unit on its own: same values, no content."""
    from safetensors.numpy import load_file

    from stages.science import controls
    from stages.science.tasks import unit_keys

    name, base = job.row["name"], _base(job.row)
    path = job.out / f"{base}.safetensors"
    if not path.is_file():
        raise StudyError(
            f'{name}: kwargs must name a network of the roster that succeeded, as {{"of": "NAME"}}; it names {base!r}'
        )
    layers = [{fact: layer[fact] for fact in ["layer", *FACTS]} for layer in job.base_layers]
    content = load_file(path)
    keys = np.concatenate(
        [unit_keys(job.params.seed, name, layer["layer"], np.arange(layer["width"])) for layer in layers]
    )
    n = len(open_images(job.images, job.params.images.root))
    content["top_images"], content["bottom_images"] = controls.permuted_extremes(
        content["top_images"], content["bottom_images"], n, job.params.seed, keys
    )
    return layers, content, []


if __name__ == "__main__":
    run(main)
