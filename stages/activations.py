"""Find the most and least exciting images of every unit of every network, in one pass a network.

Reads   data/images, data/models, matrices named in `directions`, data/external/human/units (activations.keep_file)
Writes  data/activations: NAME.safetensors (extremes and statistics of every unit), layers.parquet, control_labels.csv,
        kept/NAME.parquet (whole columns of the units to keep), run.json, failures.csv
        data/notes/activations: copies of the small tables, for stages that need no extremes
Run     dvc repro activations          Resumes from the work store; safe to interrupt.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.errors import StudyError
from stages.loading import load_network
from stages.pipeline import networks, unit_lists
from stages.pipeline.log import Progress, logger, run
from stages.pipeline.params import Params, load_params
from stages.pipeline.pictures import check_unchanged, open_images, rows_in_batches
from stages.pipeline.store import WorkStore
from stages.pipeline.tables import FACTS, atomic_path, copy_notes, fresh_folder, write_csv, write_json, write_parquet
from stages.pipeline.workers import Failure, device, run_jobs

log = logger("activations")
_SHARD = 65_536  # images whose selection is kept as one store file: a kill costs at most these, of one network


@dataclass(frozen=True)
class Job:
    row: dict[str, Any]
    params: Params
    images: Path
    models: Path
    code: Path
    out: Path
    base_layers: tuple[dict[str, Any], ...] = ()  # of the network that a permuted control starts from
    listed: tuple[unit_lists.Unit, ...] = ()  # units whose whole column is kept, besides those of activations.keep


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
        jobs = [
            Job(
                row,
                params,
                args.images,
                args.models,
                args.code,
                out,
                tuple(each for each in layers if each["model"] == _base(row)),
                tuple(unit for unit in listed if unit[0] == row["name"]),
            )
            for row in part.to_dict("records")
        ]
        for place, result in run_jobs(_extract, jobs, list(part["name"])):
            name = jobs[place].row["name"]
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


def _extract(job: Job) -> dict[str, Any]:
    """Write the extremes of one roster row; return its layers, control labels and device kind."""
    from safetensors.numpy import save_file

    kind = (
        "permuted"
        if job.row["constructor"] == "control:permuted"
        else "planted"
        if networks.is_planted(job.row)
        else "network"
    )
    found, content, labels = {"permuted": _permuted, "planted": _planted, "network": _network}[kind](job)
    with atomic_path(job.out / f"{job.row['name']}.safetensors") as part:
        save_file({name: np.ascontiguousarray(value) for name, value in content.items()}, part)
    offsets = np.cumsum([0, *(layer["width"] for layer in found)])
    layers = [
        {"model": job.row["name"], **layer, "offset": int(offset)}
        for layer, offset in zip(found, offsets, strict=False)
    ]
    return {"layers": layers, "labels": labels, "device": _device_kind()}


def _device_kind() -> str:
    if device() == "cpu":
        return "cpu"
    import torch

    return torch.cuda.get_device_name(device())


Extracted = tuple[list[dict[str, Any]], dict[str, np.ndarray], list[dict[str, Any]]]


def _network(job: Job) -> Extracted:
    """One pass over all images, shard by shard through the work store."""
    import torch
    from safetensors.numpy import load_file, save_file

    from stages.science import preprocessing, selection, taps, units
    from stages.science.tasks import unit_keys

    given, rules = job.params.activations, job.params.units
    images, name = open_images(job.images, job.params.images.root), job.row["name"]
    network = load_network(job.row, job.models, job.code, job.params.seed)
    model, prepare = network.model.to(device()), network.preprocessing
    first = prepare.batch([images.pixels(row) for row in range(min(4, len(images)))], device())
    layers = units.find_layers(
        model,
        first[:3],
        layer_types=rules.layer_types,
        drop_first_last=rules.drop_first_last,
        norm_act=rules.norm_act,
        taps=taps.find_taps([path for path, _ in model.named_modules()], job.row["taps"]),
    )
    units.check_independence(model, layers, first)
    layers, directions, digest = _directed(job.row, model, first, layers, rules)
    width = {layer.name: layer.width if directions is None else directions.shape[1] for layer in layers}
    keys = np.concatenate([unit_keys(job.params.seed, name, layer, np.arange(n)) for layer, n in width.items()])
    owners = [(layer, unit) for layer, n in width.items() for unit in range(n)]
    kept = unit_lists.places(name, owners, given.keep, job.listed)
    shared = {
        "images": images.digest, "weights": network.digest, "preprocessing": prepare.dumps(), "seed": job.params.seed,
        "model": name, "constructor": job.row["constructor"], "directions": digest, "n_extremes": given.n_extremes,
        "batch_size": given.batch_size, "units": asdict(rules), "keep": [list(owners[place]) for place in kept],
        "taps": job.row["taps"], "torch": torch.__version__, "device": _device_kind(),
        "versions": [units.VERSION, selection.VERSION, preprocessing.VERSION],
    }  # fmt: skip
    matrix = None if directions is None else torch.from_numpy(directions).to(device())

    def sweep(start: int, stop: int, path: Path) -> None:
        extremes, moments = selection.Extremes(keys, given.n_extremes), selection.Moments(len(keys))
        columns = np.empty((len(kept), stop - start), dtype=np.float32)
        progress = Progress(log, stop - start, f"{name}: images", every=20)
        with units.Capture(model, layers, given.batch_size, torch.device(device())) as capture:
            for rows in rows_in_batches(stop - start, given.batch_size):
                # a short batch is filled up, so that every image goes through the same kernels
                pictures = [images.pixels(int(row) + start) for row in rows]
                pictures += [pictures[-1]] * (given.batch_size - len(rows))
                values = capture(prepare.batch(pictures, device()))[: len(rows)]
                values = (values if matrix is None else values @ matrix).cpu().numpy()
                try:
                    extremes.update(values, rows + start)
                except selection.NotFinite as error:
                    layer, unit = owners[error.unit]
                    image = images.manifest["path"][int(rows[error.row]) + start]
                    raise StudyError(f"{name}: layer {layer}, unit {unit} is {error.value} for image {image}") from None
                moments.update(values)
                columns[:, rows] = values[:, kept].T
                progress.step(len(rows))
        top, bottom = extremes.keys()
        state = {
            "top": top,
            "bottom": bottom,
            "bins": moments.bins,
            "nonpositive": moments.nonpositive,
            "columns": columns,
        }
        save_file(state, path)

    store, states = WorkStore.open(), []
    # shards hold whole batches, so that no batch, and no sum over one, depends on the size of a shard
    shard = max(1, _SHARD // given.batch_size) * given.batch_size
    for start in range(0, len(images), shard):
        stop = min(start + shard, len(images))
        path = store.fetch(
            "activations",
            {**shared, "start": start, "stop": stop},
            ".safetensors",
            partial(sweep, start, stop),
        )
        states.append(load_file(path))
    if kept:
        columns = np.concatenate([state["columns"] for state in states], axis=1)
        rows = [owners[place] for place in kept]
        write_parquet(
            job.out / "kept" / f"{name}.parquet",
            pd.DataFrame({"layer": [r[0] for r in rows], "unit": [r[1] for r in rows], "values": list(columns)}),
        )
    described = [
        {"layer": layer.name, "layer_type": layer.layer_type, "layer_index": layer.layer_index, "depth": layer.depth,
         "width": width[layer.name]}
        for layer in layers
    ]  # fmt: skip
    return described, _summarised(states, keys, given.n_extremes, len(images)), []


def _directed(row: dict[str, Any], model: Any, batch: Any, layers: list[Any], rules: Any) -> tuple[list[Any], Any, str]:
    """The layer and matrix of a row with `directions`: units are then linear combinations of the layer's units."""
    if not row["directions"]:
        return layers, None, ""
    from stages.pipeline.tables import sha256_file
    from stages.science.taps import find_taps
    from stages.science.units import find_layers

    name, path = networks.parse_directions(row["directions"])
    everything = find_layers(
        model, batch[:3], layer_types=rules.layer_types, drop_first_last=False, norm_act=rules.norm_act,
        taps=find_taps([path for path, _ in model.named_modules()], row["taps"]),
    )  # fmt: skip
    chosen = [layer for layer in everything if layer.name == name]
    if not chosen:
        raise StudyError(
            f"directions name layer {name!r}, which is none of {', '.join(each.name for each in everything)}"
        )
    return chosen, networks.load_directions(path, name, chosen[0].width), sha256_file(path)


def _summarised(states: list[dict[str, np.ndarray]], keys: np.ndarray, k: int, n: int) -> dict[str, np.ndarray]:
    """Extremes and statistics of all units from the states of disjoint shards."""
    from stages.science import selection

    moments = selection.Moments(len(keys))
    for state in states:
        moments.add(state["bins"], state["nonpositive"], 0)
    moments.n_images = n
    top, bottom = selection.merge_keys([(state["top"], state["bottom"]) for state in states], k)
    ranked = selection.ranked(top, bottom, keys, k)
    mean, variance = moments.mean_variance()
    return {
        **vars(ranked), "min": ranked.bottom_values[:, 0], "max": ranked.top_values[:, 0],
        "mean": mean, "variance": variance, "nonpositive": moments.nonpositive / n,
    }  # fmt: skip


def _planted(job: Job) -> Extracted:
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
    return layers, _summarised([state], keys, job.params.activations.n_extremes, len(images)), labels


def _base(row: dict[str, Any]) -> str:
    """Name of the network behind a permuted control."""
    return str(json.loads(row["kwargs"] or "{}").get("of", ""))


def _permuted(job: Job) -> Extracted:
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
