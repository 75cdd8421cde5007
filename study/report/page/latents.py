"""What the gallery says of directions beside their scores: what they are, how often they are active, which units lie nearest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from interpretability.schema import POOLED, UNIT
from study.files.tables import read_csv, read_parquet
from study.report.figures.base import Study
from study.report.page.listed_units import Listed
from study.report.page.packing import whole

N_NEAREST = 5
_KINDS = ["model", "layer", "kind", "pooling"]


@dataclass(frozen=True)
class Latents:
    """Tables about directions, without rows where a study has none.

    read: model, layer, kind, pooling; firing: model, layer, unit, share of pictures on which a latent is active, status;
    nearest: model, layer, unit, rank, near_unit, cosine.
    """

    read: pd.DataFrame
    firing: pd.DataFrame
    nearest: pd.DataFrame

    @classmethod
    def of_folders(cls, activations: Path, tasks: Path) -> Latents:
        """From the outs of the stages activations and tasks; a study made before there were directions has no such files."""
        paths = activations / "directions.csv", tasks / "firing.parquet", activations / "nearest.parquet"
        columns = _KINDS, [*UNIT, "share", "status"], [*UNIT, "rank", "near_unit", "cosine"]
        none = [pd.DataFrame(columns=names) for names in columns]
        read = read_csv(paths[0], text=_KINDS) if paths[0].is_file() else none[0]
        return cls(
            read,
            *(read_parquet(path) if path.is_file() else empty for path, empty in zip(paths[1:], none[1:], strict=True)),
        )


def as_content(study: Study, listed: Listed, latents: Latents) -> dict[str, object]:
    """The part of the gallery's JSON that is of directions.

    read      by number of the layer, as in `layers`: kind, pooling, network and layer of the units, latents that are dead, too
              sparse, and all of them (null where the layer is no sparse code)
    firing    by row: share of pictures on which the latent is active, in millionths
    nearest   by row: number of a unit of that layer, cosine in hundredths; the nearest first
    """
    units = listed.units
    layers = units[["model", "layer"]].drop_duplicates(ignore_index=True)
    base = _bases(study)
    kinds = {(row[0], row[1]): (row[2], row[3]) for row in latents.read[_KINDS].itertuples(index=False, name=None)}
    statuses = {
        key: of_layer.value_counts()
        for key, of_layer in latents.firing.groupby(["model", "layer"], observed=True)["status"]
    }
    read: dict[str, list[object]] = {}
    for number, (model, layer) in enumerate(layers.itertuples(index=False, name=None)):
        if (model, layer) in kinds:
            counts = statuses.get((model, layer))
            of_code: list[object] = [None, None, None]
            if counts is not None:
                of_code = [int(counts.get("dead", 0)), int(counts.get("too_sparse", 0)), int(counts.sum())]
            read[str(number)] = [*kinds[model, layer], base.get(model, ""), layer.partition(POOLED)[0], *of_code]
    row_of: dict[tuple[str, str, int], list[int]] = {}
    for row, key in enumerate(units[UNIT].itertuples(index=False, name=None)):
        row_of.setdefault(key, []).append(row)
    return {"read": read, "firing": _firing(row_of, latents.firing), "nearest": _nearest(row_of, latents.nearest)}


def _bases(study: Study) -> dict[str, str]:
    table = study.tables["units_or_directions"][["model", "base"]].drop_duplicates()
    return dict(table.itertuples(index=False, name=None))


def _firing(row_of: Mapping[tuple[str, str, int], list[int]], firing: pd.DataFrame) -> dict[str, int | None]:
    keys = firing[UNIT].itertuples(index=False, name=None)
    return {
        str(row): share for key, share in zip(keys, whole(firing["share"]), strict=True) for row in row_of.get(key, ())
    }


def _nearest(row_of: Mapping[tuple[str, str, int], list[int]], nearest: pd.DataFrame) -> dict[str, list[list[int]]]:
    found: dict[str, list[list[int]]] = {}
    wanted = nearest[nearest["rank"] <= N_NEAREST].sort_values("rank", kind="stable")
    near = zip(wanted["near_unit"], wanted["cosine"], strict=True)
    for key, (unit, cosine) in zip(wanted[UNIT].itertuples(index=False, name=None), near, strict=True):
        for row in row_of.get(key, ()):
            found.setdefault(str(row), []).append([int(unit), round(100 * float(cosine))])
    return found
