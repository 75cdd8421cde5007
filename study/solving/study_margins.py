"""Margins of all tasks of a study under one similarity, as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from interpretability.casts import narrowed
from interpretability.files import atomic_path
from interpretability.schema import FACTS, KEY
from study.errors import StudyError
from study.files.store import WorkStore
from study.files.tables import read_csv, read_json, read_parquet
from study.images.manifest import open_images
from study.log import logger
from study.networks.roster import base_network, is_control, read_roster, rows_of
from study.params.parts import SeedAndImages
from study.solving.margins import Asked, Block, Cost, joined, solve_tasks
from study.solving.opening import Similarities, SimilarityPlan, similarity_and_images

log = logger("scores")


@dataclass(frozen=True, kw_only=True)
class SolvingSimilarities(Similarities):
    """What margins of tasks depend on, of `scores`."""

    near_duplicate: float
    feature_models: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MarginParams(SeedAndImages):
    """What the margins of a similarity depend on."""

    scores: SolvingSimilarities


def compared_networks(models: Path, wanted: Sequence[str]) -> list[str]:
    """Networks whose units a similarity of pairs compares: those that scores.feature_models names, their permuted controls,
    and planted units.
    """
    roster = read_roster(models / "roster.csv")
    known = [*roster["name"], *read_csv(models / "failures.csv", text=["model"])["model"]]
    if unknown := [name for name in wanted if not any(fnmatchcase(network, name) for network in known)]:
        raise StudyError(
            f"scores.feature_models names {unknown[0]!r}, which is no network of the roster; * stands for any text. Allowed: "
            f"{', '.join(known)}"
        )
    rows = rows_of(roster)
    named = {row["name"] for row in rows if any(fnmatchcase(row["name"], name) for name in wanted)}
    chosen = [
        row["name"] for row in rows if row["name"] in named or (is_control(row) and base_network(row) in named | {""})
    ]
    log.info("scores.feature_models: %d of %d networks are compared", len(chosen), len(rows))
    return chosen


def used_images(paths: Sequence[Path], n_images: int) -> NDArray[np.int32]:
    """Images of the study that occur in any task, sorted; made images, numbered from n_images on, are none of it."""
    used = np.empty(0, dtype=np.int32)
    for path in paths:
        used = np.union1d(used, np.load(path, mmap_mode="r"))
    return used[used < n_images].astype(np.int32)


def solve_study(
    backend: str,
    params: MarginParams,
    tasks: Path,
    images: Path,
    models: Path,
    code: Path,
    made: Path | None = None,
) -> tuple[dict[str, list[Block]], Cost]:
    """Blocks of margins of every network that has tasks, in the order of the roster, and what they cost: see `cost_of`."""
    summary = read_json(tasks / "summary.json")
    if summary["images"] != open_images(images).digest:
        raise StudyError(f"{tasks} was built from other pictures than {images} holds; run `dvc repro`")
    plan = SimilarityPlan.from_params(backend, params, images, models, code, made)
    similarity, store = similarity_and_images(plan)[0], WorkStore.open()
    names, chosen = list(read_roster(models / "roster.csv")["name"]), params.scores.feature_models
    if not similarity.embeds and chosen:
        names = compared_networks(models, chosen)
    paths = {name: tasks / f"{name}.npy" for name in names if (tasks / f"{name}.npy").is_file()}
    if not paths:
        reason = ": scores.feature_models names only networks that failed" if chosen else ""
        raise StudyError(f"no network has tasks for backend {backend}{reason}")
    used = used_images(list(paths.values()), len(open_images(images)))
    asked = Asked(paths, summary["n_explanations"], params.scores.near_duplicate, used)
    blocks, cost = solve_tasks(plan, store, asked)
    log.info("%s: %d forward passes in this process", backend, similarity.forwards)
    return blocks, cost


def write_margins(out: Path, solved: Mapping[str, Sequence[Block]], tasks: Path) -> None:
    """Write one table of all networks in roster order, network by network."""
    writer = None
    with atomic_path(out) as part:
        for name, blocks in solved.items():
            found, units = joined(blocks), read_parquet(tasks / f"{name}.parquet")
            margins, near, units = found["margins"], found["near"], units.iloc[found["rows"]]
            table = pa.Table.from_pandas(units[[*KEY, *FACTS, "tie_share_pos", "tie_share_neg"]], preserve_index=False)
            lengths = np.full(len(units), margins.shape[1])
            table = table.append_column("margins", _lists(margins.reshape(-1), lengths))
            table = table.append_column(
                "near", _lists(narrowed(np.nonzero(near)[1], np.int16, "n_tasks"), near.sum(axis=1))
            )
            table = table.replace_schema_metadata(None)
            writer = writer or pq.ParquetWriter(part, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is None:
            raise StudyError(f"{tasks} holds no tasks of any network of the roster")
        writer.close()


def _lists(values: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """Lists of the given lengths, cut from one array."""
    offsets = narrowed(np.concatenate([[0], np.cumsum(lengths)]), np.int32, "the tasks of a network")
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
