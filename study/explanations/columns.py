"""Whole columns of the units that texts explain: those that the pass over the images kept, and planted ones anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from interpretability.schema import UNIT
from interpretability.synthetic import planted_units
from study.errors import StudyError
from study.explanations.images import Probing
from study.networks.unit_lists import Named, is_wild

_FOLDERS = ("kept", "explained")  # of the stage `activations`: columns that others use, and further ones of texts


@dataclass(frozen=True)
class Planted:
    """Planted units of a study: the name of the control, and its layers with the values of all images."""

    name: str
    layers: Mapping[str, planted_units.ControlLayer]


def planted_of(roster: pd.DataFrame, factors: pd.DataFrame | None, seed: int) -> Planted | None:
    """The first planted control of a roster, computed anew; None where there is none or there are no factors."""
    names = roster.loc[roster["constructor"] == "control:planted", "name"].tolist()
    if not names or factors is None:
        return None
    return Planted(names[0], {layer.layer: layer for layer in planted_units.planted(factors, seed)})


def columns(units: pd.DataFrame, activations: Path, planted: Planted | None, images: Probing) -> NDArray[np.float32]:
    """Values (units, n) of units (model, layer, unit; in the order of the table) over the probing images.

    Raises StudyError for a unit without a kept column: the stage `activations` has to run again.
    """
    values = np.empty((len(units), len(images)), dtype=np.float32)
    missing: list[str] = []
    for model, part in units.groupby("model", sort=False):
        places = part.index.to_numpy()
        owners = list(zip(part["layer"], part["unit"].astype(int), strict=True))
        if planted is not None and model == planted.name:
            for place, (layer, unit) in zip(places, owners, strict=True):
                values[place] = planted.layers[layer].values[images.rows, unit]
            continue
        found = _kept(activations, str(model), owners, images.rows)
        for place, owner in zip(places, owners, strict=True):
            if owner in found:
                values[place] = found[owner]
            else:
                missing.append(f"{model}/{owner[0]}/{owner[1]}")
    if missing:
        raise StudyError(
            f"data/activations has no whole column of {len(missing)} units with texts, first {missing[0]}. "
            "Run `dvc repro explanations`, which runs the stage activations first"
        )
    return values


def _kept(
    activations: Path, model: str, owners: Iterable[tuple[str, int]], rows: NDArray[np.int32]
) -> dict[tuple[str, int], NDArray[np.float32]]:
    """Columns of units (layer, number) of one network at rows of the manifest, a row group at a time."""
    wanted, found = set(owners), dict[tuple[str, int], NDArray[np.float32]]()
    for folder in _FOLDERS:
        path = activations / folder / f"{model}.parquet"
        if not path.is_file():
            continue
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                here = list(zip(*file.read_row_group(group, ["layer", "unit"]).to_pydict().values(), strict=True))
                if not wanted.intersection(here):
                    continue
                lists = file.read_row_group(group, ["values"])["values"].combine_chunks()
                for place, owner in enumerate(here):
                    if owner in wanted:
                        found[owner] = lists[place].values.to_numpy()[rows]
    return found


def known_units(layers: pd.DataFrame, planted: Planted | None) -> pd.DataFrame:
    """Layers of all networks that may have texts: model, layer, width."""
    table = layers[["model", "layer", "width"]]
    if planted is None:
        return table
    sizes = [(planted.name, name, layer.values.shape[1]) for name, layer in planted.layers.items()]
    own = pd.DataFrame(sizes, columns=["model", "layer", "width"])
    return pd.concat([table[table["model"] != planted.name], own], ignore_index=True)


def refuse_unknown(texts: pd.DataFrame, layers: pd.DataFrame, folder: str, failed: Sequence[str]) -> None:
    """Refuse a text of a unit that its network does not have, by file, row and column. Those of networks that `failed` pass."""
    widths = dict(zip(zip(layers["model"], layers["layer"], strict=True), layers["width"], strict=True))
    models = set(layers["model"])
    for text in texts.itertuples(index=False):
        where = f"{folder}/{text.file}: row {text.row}"
        if text.model in failed and text.model not in models:
            continue
        if text.model not in models:
            raise StudyError(
                f"{where}: model is {text.model!r}, which is not among the networks of this study: "
                f"{', '.join(sorted(models)[:20])}"
            )
        width = widths.get((text.model, text.layer))
        if width is None:
            own = [layer for model, layer in widths if model == text.model]
            more = ", ..." if len(own) > 20 else ""
            raise StudyError(
                f"{where}: layer is {text.layer!r}, but the layers of {text.model} that give units are "
                f"{', '.join(own[:20])}{more} (data/activations/left_out.csv says why others do not)"
            )
        if text.unit >= width:
            raise StudyError(
                f"{where}: unit is {text.unit}, but layer {text.layer} of {text.model} has the units 0 to {width - 1}"
            )


def matching(entries: Sequence[str], layers: pd.DataFrame, networks: Sequence[str]) -> pd.DataFrame:
    """Units that entries model/layer/unit name in the given networks: model, layer, unit, each once.

    Raises StudyError for an entry that names a network, without a `*`, and none of its units.
    """
    found: dict[tuple[str, str, int], None] = {}
    for entry in entries:
        named, none = Named((entry,)), True
        for model, layer, width in zip(layers["model"], layers["layer"], layers["width"], strict=True):
            if model in networks:
                owners = [(str(layer), unit) for unit in range(int(width))]
                hit = [(str(model), str(layer), index) for index in named.indices(str(model), owners)]
                found |= dict.fromkeys(hit)
                none = none and not hit
        if none and not is_wild(entry.split("/")[0]):
            raise StudyError(
                f"explanations.units names {entry}, which is no unit of this study; data/activations/layers.parquet lists layers "
                "and the number of their units"
            )
    return pd.DataFrame(list(found), columns=UNIT)
