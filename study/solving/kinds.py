"""Margins of units under every kind of explanation and every similarity, in the work store and as one table."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from interpretability.schema import FACTS, UNIT
from study.errors import StudyError
from study.files.store import WorkStore
from study.files.tables import read_csv, read_json, write_parquet
from study.images.made import MadeImages, Pictures
from study.images.manifest import open_images
from study.log import logger
from study.networks.roster import read_roster
from study.networks.unit_lists import check_networks
from study.params.explanation_kinds import ExplanationKinds
from study.params.parts import Backends, SeedAndImages
from study.solving import embeddings, kind_tasks
from study.solving.embeddings import Prepared, PreparedBoth, SimilarityJob
from study.solving.kind_tasks import KindTasks, NamedUnits
from study.solving.opening import (
    SimilarityPlan,
    copy_numbers,
    images_ahead,
    similarity_and_images,
    unchecked_similarity,
)
from study.solving.study_margins import SolvingSimilarities, compared_networks, used_images
from study.workers.jobs import run_all_or_stop

if TYPE_CHECKING:
    from interpretability.similarity.base import Similarity

log = logger("kinds")

KEY = "explanation_kinds.units"
_TOGETHER = 8  # units of a job where every image costs a forward pass: a kill costs at most these in each worker
MARGINS = pa.schema(
    [
        *(("model", pa.string()), ("layer", pa.string()), ("unit", pa.int64())),
        *(("layer_type", pa.string()), ("layer_index", pa.int64()), ("depth", pa.float64()), ("width", pa.int64())),
        *(("backend", pa.string()), ("kind", pa.string()), ("seed_set", pa.int16()), ("n_images", pa.int16())),
        *(("margins", pa.list_(pa.float32())), ("near", pa.list_(pa.int16()))),
    ]
)
UNITS = pa.schema(
    [
        *(("model", pa.string()), ("layer", pa.string()), ("unit", pa.int64())),
        *((name, pa.int16()) for name in ("topics_pos", "topics_neg", "n_sets")),
        *(("made", pa.string()), ("tasks", pa.string())),
    ]
)
SHOWN = pa.schema(
    [
        *(("model", pa.string()), ("layer", pa.string()), ("unit", pa.int64()), ("kind", pa.string())),
        *(("seed_set", pa.int16()), ("side", pa.string()), ("position", pa.int16())),
        *(("image", pa.int32()), ("topic", pa.int16())),
    ]
)


@dataclass(frozen=True, kw_only=True)
class AllSimilarities(SolvingSimilarities, Backends):
    """The similarities that solve tasks, of `scores`."""


@dataclass(frozen=True, kw_only=True)
class KindParams(SeedAndImages):
    """What margins under kinds of explanation depend on."""

    scores: AllSimilarities
    explanation_kinds: ExplanationKinds


@dataclass(frozen=True)
class Explained:
    """Units of one network and their tasks under every kind."""

    named: NamedUnits
    kinds: list[KindTasks]


@dataclass(frozen=True)
class Solved:
    """Margins of some units of a network under one similarity: for each of these kinds, in the file by its place."""

    kinds: tuple[KindTasks, ...]
    path: Path


@dataclass(frozen=True)
class KindJob(SimilarityJob):
    """Margins of some units of one network under every kind, together: the kinds share images."""

    model: str
    kinds: tuple[KindTasks, ...]
    near: float
    prepared: Prepared | PreparedBoth | None = field(repr=False)

    @property
    def name(self) -> str:
        return f"kinds of explanation of {self.model}"

    @property
    def size(self) -> float:
        return sum(len(kind.rows) for kind in self.kinds)

    def run(self) -> Solved:
        digest = hashlib.sha256()
        for kind in self.kinds:
            digest.update(f"{kind.tasks.shape} {kind.topics is not None}\x00".encode())
            digest.update(np.ascontiguousarray(kind.tasks, dtype="<i4").tobytes())
            if kind.topics is not None:
                digest.update(np.ascontiguousarray(kind.topics, dtype="<i8").tobytes())
        key = {**self.ingredients, "kinds": digest.hexdigest(), "near": self.near, **self._versions()}
        return Solved(self.kinds, self.store.fetch("kinds", key, ".safetensors", self._write))

    @staticmethod
    def _versions() -> dict[str, int]:
        from interpretability.margins import VERSION
        from interpretability.similarity import by_topic

        return {"scoring": VERSION, "topics": by_topic.VERSION}

    def _write(self, path: Path) -> None:
        from safetensors.numpy import save_file

        similarity = unchecked_similarity(self.plan) if self.prepared else similarity_and_images(self.plan)[0]
        found = {}
        for place, kind in enumerate(self.kinds):
            margins, near = self._solved(kind, similarity)
            if not np.isfinite(margins).all():
                unit, task = np.argwhere(~np.isfinite(margins))[0]
                raise StudyError(f"{kind.kind}: margin of task {task} of unit {unit} is {margins[unit, task]}")
            found |= {f"{place}.margins": margins, f"{place}.near": near}
        save_file(found, path)

    def _solved(self, kind: KindTasks, similarity: Similarity) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Margins (units, N), and which tasks hold a copy of their own answer."""
        from interpretability.similarity.by_topic import topic_margins

        table, rows = self.prepared.shown_in(kind.tasks) if self.prepared else (None, kind.tasks)
        if kind.topics is None:
            margins = similarity.margins(rows, kind.n_images, table)
        else:
            values = similarity.similarities(rows, kind.n_images, table)
            margins = topic_margins(values, kind.topics, similarity.aggregation, similarity.softmax_temperature)
        copies = copy_numbers(self.plan)[kind.tasks]
        near = (copies[..., :-2, None] == copies[..., None, -2:]).any(axis=(-1, -2))
        nearest = similarity.nearest(rows, kind.n_images, table)
        return margins, near if nearest is None else near | (nearest > self.near)


def compare_kinds(args: argparse.Namespace, params: KindParams, out: Path) -> None:
    """Write margins.parquet (MARGINS), units.parquet (UNITS) and shown.parquet (SHOWN) of the units named into `out`."""
    wanted, names = params.explanation_kinds, list(read_roster(args.models / "roster.csv")["name"])
    failed = list(read_csv(args.models / "failures.csv", ["model"], text=["model", "stage", "reason"])["model"])
    check_networks(wanted.units, [*names, *failed], args.models / "roster.csv", KEY)
    summary, images = read_json(args.tasks / "summary.json"), open_images(args.images)
    if summary["images"] != images.digest:
        raise StudyError(f"{args.tasks} was built from other pictures than {args.images} holds; run `dvc repro`")
    pictures = Pictures.open(images, args.visualisations)
    with_tasks = [name for name in names if (args.tasks / f"{name}.npy").is_file()]
    _tell_of_failed(wanted.units, [name for name in [*names, *failed] if name not in with_tasks])
    reached = MadeImages(args.visualisations)
    named = [_named(name, args.tasks, reached, wanted) for name in with_tasks]
    made = None if pictures.made is None else args.visualisations
    places = args.images, args.models, args.code, made
    used = used_images([args.tasks / f"{name}.npy" for name in with_tasks], len(images))
    store, some = WorkStore.open(), [each for each in named if len(each.units)]
    plans = [SimilarityPlan.from_params(backend, params, *places) for backend in params.scores.backends] if some else []
    rows = _leading_rows(plans, store, used) if wanted.n_topics > 1 else None
    built = [kind_tasks.kinds_of(each, wanted, rows, params.seed) for each in some]
    explained = [Explained(each, kinds) for each, (kinds, _) in zip(some, built, strict=True)]
    tables = [units for _, units in built] + [kind_tasks.without_tasks(each) for each in named]
    _tell(tables, wanted, summary["n_explanations"])
    parts = [_margins(plan, params, store, explained, used, len(images)) for plan in plans]
    write_parquet(out / "margins.parquet", _joined(parts, MARGINS), MARGINS)
    write_parquet(out / "units.parquet", _joined(tables, UNITS), UNITS)
    shown = [kind_tasks.shown_table(each.named, each.kinds) for each in explained]
    write_parquet(out / "shown.parquet", _joined(shown, SHOWN), SHOWN)


def _named(model: str, tasks: Path, made: MadeImages, wanted: ExplanationKinds) -> NamedUnits:
    images, units = (table[table["model"] == model] for table in (made.table, made.units))
    return kind_tasks.named_units(tasks, model, wanted.units, kind_tasks.made_sets(images, units))


def _leading_rows(
    plans: Sequence[SimilarityPlan], store: WorkStore, used: NDArray[np.int32]
) -> NDArray[np.floating] | None:
    """Unit rows of all images under the first similarity that embeds, zeros for those that no task shows; None without one."""
    for plan in plans:
        similarity, images = similarity_and_images(plan)
        prepared = embeddings.embedded_images(plan, store, used) if similarity.embeds else None
        if prepared is None:
            continue
        table = prepared.open()
        if prepared.images is None:
            return table
        rows = np.zeros((len(images), table.shape[1]), table.dtype)
        rows[prepared.images] = table
        return rows
    return None


def _margins(
    plan: SimilarityPlan,
    params: KindParams,
    store: WorkStore,
    explained: Sequence[Explained],
    used: NDArray[np.int32],
    n_images: int,
) -> pd.DataFrame:
    """Margins of all units under one similarity: MARGINS, networks in their order, kind by kind.

    Kinds that show made images are left out under a similarity of factors, which these have not.
    """
    similarity = similarity_and_images(plan)[0]
    if not similarity.embeds and (chosen := params.scores.feature_models):
        allowed = compared_networks(plan.models, chosen)
        explained = [each for each in explained if each.named.model in allowed]
    natural = embeddings.embedded_images(plan, store, used)
    made = embeddings.embedded_made(plan, store)
    prepared = PreparedBoth(natural, made, n_images) if natural is not None and made is not None else natural
    ingredients = embeddings.embedding_ingredients(plan) | plan.aggregation()
    ingredients |= prepared.ingredients if prepared else {}
    pictures = images_ahead(plan).images.made
    jobs, owners = [], []
    for each in explained:
        kinds = [kind for kind in each.kinds if not (similarity.needs_factors and (kind.tasks >= n_images).any())]
        size = len(each.named.units) if prepared else _TOGETHER
        for start in range(0, len(each.named.units), size):
            rows = np.arange(start, min(start + size, len(each.named.units)))
            parts = tuple(part for kind in kinds if len((part := kind.of(rows)).rows))
            # tasks hold numbers alone, which stay the same when other images are made
            shows_made = any((part.tasks >= n_images).any() for part in parts)
            own = ingredients | ({"made": pictures.digest} if pictures and shows_made else {})
            jobs.append(KindJob(plan, store, own, each.named.model, parts, params.scores.near_duplicate, prepared))
            owners.append(each.named)
    simple = prepared is not None
    solved = run_all_or_stop(jobs, f"backend {plan.name}, kinds of explanation", log, probe=simple, on_cpu=simple)
    tables = [_table(named, block, plan.name) for named, block in zip(owners, solved, strict=True)]
    return _in_order(tables, explained)


def _table(named: NamedUnits, solved: Solved, backend: str) -> pd.DataFrame:
    from safetensors.numpy import load_file

    found, parts = load_file(solved.path), []
    for place, kind in enumerate(solved.kinds):
        near = pd.Series([np.flatnonzero(row).astype(np.int16) for row in found[f"{place}.near"]], dtype=object)
        of = {"backend": backend, "kind": kind.kind, "seed_set": kind.seed_set, "n_images": kind.n_images}
        units = named.units.iloc[kind.rows][[*UNIT, *FACTS]].reset_index(drop=True)
        margins = pd.Series(list(found[f"{place}.margins"]), dtype=object)
        parts.append(units.assign(**of, margins=margins, near=near))
    return pd.concat(parts, ignore_index=True)


def _in_order(tables: Sequence[pd.DataFrame], explained: Sequence[Explained]) -> pd.DataFrame:
    """Blocks of units joined: network by network, kind by kind, units in their order."""
    if not tables:
        return pd.DataFrame(columns=MARGINS.names)
    table = pd.concat(tables, ignore_index=True)
    models = {each.named.model: place for place, each in enumerate(explained)}
    kinds = dict.fromkeys((kind.kind, kind.seed_set) for each in explained for kind in each.kinds)
    place_of = {kind: place for place, kind in enumerate(kinds)}
    first = np.array([models[model] for model in table["model"]])
    second = np.array([place_of[kind] for kind in zip(table["kind"], table["seed_set"], strict=True)])
    return table.iloc[np.lexsort((second, first))].reset_index(drop=True)


def _joined(parts: Sequence[pd.DataFrame], schema: pa.Schema) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=schema.names)


def _tell_of_failed(entries: Sequence[str], networks: Sequence[str]) -> None:
    """Say which of these networks, which have no tasks, are named."""
    for name in networks:
        if any(fnmatchcase(name, entry.split("/")[0]) for entry in entries):
            log.warning(
                "%s names units of %s, which has no tasks: see failures.csv of data/models and of data/activations",
                KEY,
                name,
            )


def _tell(tables: Sequence[pd.DataFrame], wanted: ExplanationKinds, n_explanations: int) -> None:
    """What is compared, and what is not."""
    units = _joined(tables, UNITS)
    if units.empty:
        log.info("no unit is explained in several ways: no images were made, and explanation_kinds.units names none")
        return
    several = ((units["topics_pos"] > 1) | (units["topics_neg"] > 1)).sum()
    log.info("%d units, %d with several topics", len(units), several)
    if dropped := [count for count in wanted.fewer if count >= n_explanations]:
        log.warning("explanation_kinds.fewer: %s left out, tasks show %d images a side", dropped, n_explanations)
    for reason, number in units.loc[units["tasks"] != kind_tasks.USED, "tasks"].value_counts(sort=False).items():
        log.warning("%d units are left out: %s", number, reason)
    for reason, number in units.loc[units["made"] != kind_tasks.USED, "made"].value_counts(sort=False).items():
        log.warning("%d units lack kinds: %s", number, reason)
