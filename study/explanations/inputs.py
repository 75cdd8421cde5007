"""What the stage `explanations` reads: parameters, images, networks and the texts of files."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.explanations.correlation import constant
from interpretability.schema import UNIT
from study.explanations import columns, texts
from study.explanations.asking import Asking
from study.explanations.images import Probing, probing_images
from study.explanations.scoring import CONSTANT_UNIT
from study.files.tables import read_csv, read_parquet
from study.images.manifest import ImageSet, open_images
from study.log import logger
from study.networks.roster import read_roster, with_network
from study.params.explanations import Explanations
from study.params.parts import SeedAndImages

log = logger("explanations")

FOLDER = "data/external/explanations"  # as messages call it
FAILED = "network failed"


@dataclass(frozen=True, kw_only=True)
class TextParams(SeedAndImages):
    """What texts, their scores and the questions depend on."""

    explanations: Explanations
    crowd: Asking


@dataclass(frozen=True)
class Inputs:
    """What the stage reads, from the folders that `args` names."""

    args: argparse.Namespace
    params: TextParams

    @cached_property
    def images(self) -> ImageSet:
        texts = self.params.explanations
        embedding = "open_clip" in (texts.guide.source, texts.second_guide.source)
        return open_images(self.args.images, self.params.images.root, quick=embedding)

    @cached_property
    def roster(self) -> pd.DataFrame:
        return read_roster(self.args.models / "roster.csv")

    @cached_property
    def probing(self) -> Probing:
        settings = self.params.explanations
        return probing_images(len(self.images), settings.n_images, settings.holdout, self.params.seed)

    @cached_property
    def planted(self) -> columns.Planted | None:
        return columns.planted_of(self.roster, self.images.factors, self.params.seed)

    @cached_property
    def layers(self) -> pd.DataFrame:
        table = read_parquet(self.args.activations / "layers.parquet", ["model", "layer", "width"])
        return columns.known_units(table, self.planted)

    @cached_property
    def failed(self) -> list[str]:
        tables = [
            read_csv(folder / "failures.csv", ["model"], text=["model"])
            for folder in (self.args.models, self.args.activations)
        ]
        return [name for name in pd.concat(tables)["model"] if name not in set(self.layers["model"])]

    @cached_property
    def listed(self) -> list[str]:
        return read_parquet(self.args.texts / "concepts.parquet")["concept"].tolist()

    @cached_property
    def given(self) -> list[pd.DataFrame]:
        """Texts of files, and those of known order."""
        of_files = read_parquet(self.args.texts / "texts.parquet")
        columns.refuse_unknown(of_files, self.layers, FOLDER, self.failed)
        return [of_files, texts.known_texts(self.planted, self.params.explanations.n_known, self.params.seed)]

    @cached_property
    def ends(self) -> list[str]:
        """Studied networks; of a training the last checkpoint."""
        networks = with_network(self.roster)
        return networks.loc[(networks["role"] == "study") & (networks["last"] == 1), "name"].tolist()

    def units(self, given: pd.DataFrame) -> Units:
        """Units that have a text or are to have one, and their values."""
        named = columns.matching(self.params.explanations.units, self.layers, self.ends)
        asked = set(named.itertuples(index=False, name=None))
        table = pd.concat([named, given[UNIT]]).drop_duplicates().sort_values(UNIT, kind="stable", ignore_index=True)
        table = table.astype({"model": "str", "layer": "str", "unit": np.int64})
        values = np.zeros((len(table), len(self.probing)), dtype=np.float32)
        here = np.flatnonzero(~table["model"].isin(self.failed))
        values[here] = columns.columns(
            table.iloc[here].reset_index(drop=True), self.args.activations, self.planted, self.probing
        )
        reason = np.where(constant(values), CONSTANT_UNIT, "") if len(table) else np.empty(0, dtype=str)
        reason = np.where(table["model"].isin(self.failed), FAILED, reason).astype(object)
        for word in (CONSTANT_UNIT, FAILED):
            if count := int((reason == word).sum()):
                log.warning("%d of %d units with texts have no scores: %s", count, len(table), word)
        wanted = np.array([owner in asked for owner in table.itertuples(index=False, name=None)], dtype=bool)
        return Units(table, values, reason, wanted)


@dataclass(frozen=True)
class Units:
    """Units with texts, in the order of all files.

    table   model, layer, unit
    values  (units, n) over the probing images
    reason  why a unit has no scores; empty where it has
    wanted  whether texts are made for it here
    """

    table: pd.DataFrame
    values: NDArray[np.float32]
    reason: NDArray[np.object_]
    wanted: NDArray[np.bool_]

    @property
    def dead(self) -> NDArray[np.bool_]:
        return self.reason != ""

    def rows(self, table: pd.DataFrame) -> NDArray[np.int64]:
        """Row of the unit of each row of a table."""
        if table.empty:
            return np.empty(0, dtype=np.int64)
        return pd.MultiIndex.from_frame(self.table).get_indexer(pd.MultiIndex.from_frame(table[UNIT])).astype(np.int64)
