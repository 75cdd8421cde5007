"""Which networks have scores without labels, and the table of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd

from interpretability.schema import FACTS, UNIT
from study.errors import StudyError
from study.extraction.grouping import memory_budget
from study.files.store import WorkStore
from study.files.tables import read_csv, read_json, read_parquet
from study.images.manifest import ImageSet, open_images
from study.label_free.embedded import embedded_images_of
from study.label_free.ends import read_ends
from study.label_free.job import Folders, LabelFreeJob, Sample
from study.label_free.parameters import LabelFreeParams
from study.label_free.summing import SCORE_COLUMNS, UNIT_COLUMNS
from study.log import logger
from study.networks.failures import Failed
from study.networks.roster import RosterRow, base_network, read_roster, rows_of
from study.solving.study_margins import used_images
from study.workers.device import Failure
from study.workers.jobs import log_failure, run_all

log = logger("label_free")

COLUMNS = [*UNIT, *FACTS, *SCORE_COLUMNS, *UNIT_COLUMNS]
_TEXT = {"model", "layer", "layer_type", "backend"}
_WHOLE = {"unit", "layer_index", "width", "n_range", "n_ms", "n_active"}


@dataclass(frozen=True)
class Scored:
    """Scores of all units (COLUMNS, a row a unit and similarity), networks that failed, and what the stage notes of itself."""

    table: pd.DataFrame
    failures: list[Failed]
    note: dict[str, Any]


def chosen_rows(
    params: LabelFreeParams, roster: pd.DataFrame, failed: Sequence[str], layers: pd.DataFrame
) -> list[RosterRow]:
    """Rows of the roster that label_free.models names and that have units. Raises StudyError for a name that is nobody's."""
    known = [*roster["name"], *failed]
    wanted = params.label_free.models
    if unknown := [name for name in wanted if not any(fnmatchcase(network, name) for network in known)]:
        raise StudyError(
            f"label_free.models names {unknown[0]!r}, which is no network of the roster; * stands for any text. Allowed: "
            f"{', '.join(known)}"
        )
    seen = set(layers["model"])
    named = [row for row in rows_of(roster) if any(fnmatchcase(row["name"], name) for name in wanted)]
    if missing := [row["name"] for row in named if row["name"] not in seen]:
        log.info("no units, so no scores without labels: %s", ", ".join(missing))
    return [row for row in named if row["name"] in seen]


def keyed_sample(params: LabelFreeParams, n_images: int) -> Sample:
    """The images of a study of so many: the first of one keyed order, of which the first are the probes."""
    from interpretability.label_free.whole_range import probe_rows

    wanted, n_range = params.label_free.n_images or n_images, params.label_free.n_range
    images = np.arange(n_images)
    sample = probe_rows(images, min(wanted, n_images), params.seed)
    probes = probe_rows(images, min(n_range, len(sample)), params.seed)
    return Sample(sample.astype(np.int32), np.searchsorted(sample, probes))


def jobs_of(params: LabelFreeParams, folders: Folders, images: ImageSet, *, embed: bool = True) -> list[LabelFreeJob]:
    """A job for every chosen network, with the embeddings of all images that they need; without `embed` of the first image alone,
    for a plan.
    """
    layers = read_parquet(folders.activations / "layers.parquet")
    roster = read_roster(folders.models / "roster.csv")
    failed = [
        name
        for folder in (folders.models, folders.activations)
        for name in read_csv(folder / "failures.csv", text=["model"])["model"]
    ]
    rows = chosen_rows(params, roster, failed, layers)
    if not rows:
        return []
    by_name = {row["name"]: row for row in rows_of(roster)}
    summary = read_json(folders.tasks / "summary.json")
    if summary["images"] != images.digest:
        raise StudyError(f"{folders.tasks} was built from other pictures than {folders.images} holds; run `dvc repro`")
    n_explaining = summary["n_tasks"] * summary["n_explanations"]
    sample = keyed_sample(params, len(images))
    of_layers = {str(name): part for name, part in layers.groupby("model", sort=False)}
    paths = [path for name in roster["name"] if (path := folders.tasks / f"{name}.npy").is_file()]
    sizes = n_explaining, params.label_free.n_top
    ends = [
        read_ends(folders.activations, folders.tasks, row["name"], of_layers[row["name"]], *sizes).images
        for row in rows
        if embed
    ]
    wanted = np.unique(np.concatenate([sample.images, *ends])).astype(np.int32)
    used = used_images(paths, len(images)) if embed else np.zeros(1, dtype=np.int32)
    places = folders.images, folders.models, folders.code
    similar = embedded_images_of(params, places, used, wanted if embed else used, WorkStore.open())
    budget = memory_budget()
    return [
        LabelFreeJob(
            row,
            by_name.get(base_network(row)),
            of_layers[row["name"]],
            params,
            folders,
            sample,
            tuple(similar),
            n_explaining,
            budget,
            size=float(of_layers[row["name"]]["width"].sum()),
        )
        for row in rows
    ]


def label_free_scores(params: LabelFreeParams, folders: Folders) -> Scored:
    """Scores of the units of every chosen network; a network that fails is told and the others go on."""
    images = open_images(folders.images, params.images.root)
    jobs = jobs_of(params, folders, images)
    results = run_all(jobs, "scores without labels", log, each=lambda job, result: log_failure(log, job, result))
    parts, failures = [], []
    for job, result in zip(jobs, results, strict=True):
        if isinstance(result, Failure):
            failures.append({"model": job.name, "stage": "label_free", "reason": result.reason_without(job.name)})
        else:
            parts.append(_described(job, read_parquet(result)))
    if jobs and not parts:
        raise StudyError(f"every network of label_free.models failed; {failures[0]['model']}: {failures[0]['reason']}")
    sample = keyed_sample(params, len(images))
    note = {
        "images": images.digest,
        "n_images": len(sample.images),
        "n_range": len(sample.probes),
        "backends": [each.backend for each in jobs[0].embedded] if jobs else [],
        "models": [job.name for job in jobs],
    }
    return Scored(pd.concat(parts, ignore_index=True) if parts else _empty(), failures, note)


def _described(job: LabelFreeJob, scores: pd.DataFrame) -> pd.DataFrame:
    """Scores with key and facts of each unit, by similarity, and within one in the order of the units."""
    order = {each.backend: place for place, each in enumerate(job.embedded)}
    scores = scores.iloc[np.lexsort((scores["row"], scores["backend"].map(order)))].reset_index(drop=True)
    owners = job.layers.loc[job.layers.index.repeat(job.layers["width"])].reset_index(drop=True)
    owners["unit"] = np.concatenate([np.arange(width) for width in job.layers["width"]])
    facts = owners[[*UNIT, *FACTS]].iloc[scores["row"]].reset_index(drop=True)
    return pd.concat([facts, scores], axis=1)[COLUMNS]


def _empty() -> pd.DataFrame:
    kinds = dict.fromkeys(COLUMNS, np.float64) | dict.fromkeys(_TEXT, "str") | dict.fromkeys(_WHOLE, np.int64)
    kinds |= {"heavy_tails": np.bool_}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
