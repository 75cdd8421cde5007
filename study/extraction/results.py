"""All networks of a study extracted, and the small tables that stand beside their extremes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd

from interpretability.schema import FACTS, UNIT
from study.extraction import arithmetic, forecast, left_out
from study.extraction.extract import extract_all
from study.extraction.job import (
    NEAR_COSINES,
    NEAR_UNITS,
    DirectionRow,
    Extraction,
    LabelRow,
    LayerRow,
    NetworkFacts,
    Timing,
)
from study.extraction.left_out import LeftOutFacts
from study.files.tables import read_csv, write_csv, write_json, write_parquet
from study.images.manifest import ImageSet
from study.log import logger
from study.networks import precisions, unit_lists
from study.networks.failures import Failed, write_failures
from study.networks.forms import written
from study.networks.roster import RosterRow, base_network, rows_of, with_network
from study.params.activations import Activations
from study.workers.device import Failure

log = logger("activations")

NOTES = ["clusters.csv", "directions.csv", "left_out.csv", "control_labels.csv", "failures.csv", "run.json"]
DIRECTION_COLUMNS = [
    *("model", "layer", "kind", "activation", "pooling", "tokens"),
    *("input_width", "n_latents", "k", "sparse", "digest"),
]
_NEAREST = {"model": "str", "layer": "str", "unit": "int64", "rank": "int64", "near_unit": "int64", "cosine": "float32"}

# of a roster row, and the layers of the network that it permutes
ExtractionOf = Callable[[RosterRow, Sequence[LayerRow]], Extraction]


@dataclass
class Results:
    """What networks left beside their extremes."""

    layers: list[LayerRow] = field(default_factory=list)
    left_out: dict[str, list[LeftOutFacts]] = field(default_factory=dict)
    labels: list[LabelRow] = field(default_factory=list)
    directions: list[DirectionRow] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)
    timings: dict[str, Timing] = field(default_factory=dict)
    device_kinds: set[str] = field(default_factory=set)
    pieces: dict[str, int] = field(default_factory=dict)
    forms: dict[str, str] = field(default_factory=dict)  # of networks that are compiled, wholly or in part
    ran_in: dict[str, str] = field(default_factory=dict)  # networks that ran in another precision than the study's
    n_networks: int = 0  # that ran through forward passes, now or before: no controls, no tables

    def add(self, name: str, result: NetworkFacts | Failure) -> None:
        """The result of one network."""
        if isinstance(result, Failure):
            self.failures.append({"model": name, "stage": "activations", "reason": result.reason_without(name)})
            return
        self.layers += result["layers"]
        self.left_out[name] = result["left_out"]
        if said := left_out.words(result["left_out"], len(result["layers"])):
            log.warning("%s: %s", name, said)
        self.labels += result["labels"]
        self.directions += result["directions"]
        self.device_kinds.add(result["device"])
        self.timings[name] = result["timing"]
        self.n_networks += bool(result["timing"])  # empty for what no network is run for
        if result["pieces"] > 1:
            self.pieces[name] = result["pieces"]
        if form := written(result.get("form", "")):
            self.forms[name] = form
        if result["ran_in"]:
            self.ran_in[name] = result["ran_in"]

    def write(self, out: Path, names: Sequence[str], images: ImageSet) -> None:
        """The tables of all networks; layers in the order of `names`."""
        rank = {name: number for number, name in enumerate(names)}
        layers = pd.DataFrame(self.layers, columns=["model", "layer", *FACTS, "cluster", "offset"])
        layers = layers.sort_values(
            ["model", "offset"], key=lambda column: column.map(rank) if column.name == "model" else column
        )
        write_parquet(out / "layers.parquet", layers)
        write_csv(out / "clusters.csv", layers[["model", "layer", "cluster"]])
        directions = pd.DataFrame(self.directions, columns=DIRECTION_COLUMNS)
        order = directions["model"].map(rank).argsort(kind="stable")
        write_csv(out / "directions.csv", directions.iloc[order])
        write_parquet(out / "nearest.parquet", nearest_table(layers[layers["model"].isin(directions["model"])], out))
        write_csv(out / left_out.FILE, left_out.table(self.left_out, names))
        write_csv(
            out / "control_labels.csv",
            pd.DataFrame(self.labels, columns=[*UNIT, "label"]).sort_values(UNIT, kind="stable"),
        )
        write_failures(out / "failures.csv", self.failures)
        # batches that ran in parts for want of memory: their last bits may be others than those of whole batches
        write_json(
            out / "run.json",
            {
                "device_kinds": sorted(self.device_kinds),
                "n_images": len(images),
                "images": images.digest,
                "batches_in_parts": self.pieces,
                **({"forms": self.forms} if self.forms else {}),
                **({"ran_in": self.ran_in} if self.ran_in else {}),
                **({"n_networks": self.n_networks} if self.forms or self.ran_in else {}),
            },
        )


def nearest_table(layers: pd.DataFrame, out: Path) -> pd.DataFrame:
    """Units nearest to each direction or latent of which that is known, by rank; `layers` of networks that have some."""
    from safetensors import safe_open

    parts = []
    for model, rows in layers.groupby("model", sort=False):
        with safe_open(out / f"{model}.safetensors", "numpy") as file:
            if NEAR_UNITS not in list(file.keys()):
                continue
            units, cosines = file.get_tensor(NEAR_UNITS), file.get_tensor(NEAR_COSINES)
        rank, n = units.shape[1], rows["width"].to_numpy()
        table = pd.DataFrame(
            {
                "model": model,
                "layer": np.repeat(rows["layer"].to_numpy(), n * rank),
                "unit": np.concatenate([np.repeat(np.arange(width), rank) for width in n]),
                "rank": np.tile(np.arange(1, rank + 1), len(units)),
                "near_unit": units.ravel(),
                "cosine": cosines.ravel(),
            }
        )
        parts.append(table[table["near_unit"] >= 0])
    empty = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _NEAREST.items()})
    return pd.concat([empty, *parts], ignore_index=True).astype(_NEAREST)


def listed_units(params: Activations, roster: pd.DataFrame, path: Path, folder: Path) -> list[unit_lists.Unit]:
    """Units of the list activations.keep_file in `folder`. Networks that activations.keep names must be of the roster, whose
    file is `path`; listed ones that are not are logged.
    """
    names = with_network(roster)["name"].tolist()
    unit_lists.check_networks(params.keep, names, path)
    listed = unit_lists.read_list(folder / params.keep_file) if params.keep_file else []
    if absent := {model for model, *_ in listed} - set(names):
        log.warning("%s lists units of networks that are not studied: %s", params.keep_file, sorted(absent))
    return listed


def explained_units(
    entries: Sequence[str], texts: Path, roster: pd.DataFrame, path: Path
) -> dict[str, unit_lists.Named]:
    """Units with texts by network: those that explanations.units names in studied networks (of a training its last checkpoint),
    and those of the file `texts`, in any network but controls and tables. Networks that an entry names must be of the roster,
    whose file is `path`.
    """
    networks = with_network(roster[roster["role"] == "study"])
    ends = networks.loc[networks["last"] == 1, "name"].tolist()
    unit_lists.check_networks(entries, ends, path, "explanations.units")
    if texts.is_file():
        listed = read_csv(texts, UNIT, text=["model", "layer"])
    else:  # a plan before the first run; in the chain the stage `inputs` comes first
        log.info("%s: no such file yet, so no unit counts as one with texts", texts)
        listed = pd.DataFrame(columns=UNIT)
    by_name = {model: list(part[UNIT].itertuples(index=False, name=None)) for model, part in listed.groupby("model")}
    return {
        name: unit_lists.Named(
            tuple(entry for entry in entries if name in ends and fnmatchcase(name, entry.split("/")[0])),
            tuple((model, layer, int(unit)) for model, layer, unit in by_name.get(name, [])),
        )
        for name in networks["name"]
    }


def extract_network_tables(roster: pd.DataFrame, job_of: ExtractionOf, images: ImageSet) -> Results:
    """Put the extremes of every network of the roster into the out, and gather what stands beside them."""
    # a permuted control starts from the finished extremes of its network, so it goes second
    permuted = roster["constructor"] == "control:permuted"
    results, asked = Results(), ""
    for part in (roster[~permuted], roster[permuted]):
        extractions = [
            job_of(row, [layer for layer in results.layers if layer["model"] == base_network(row)])
            for row in rows_of(part)
        ]
        if extractions and not asked:
            asked = extractions[0].params.activations.precision
            if said := arithmetic.warning(asked, arithmetic.used_by_workers(asked)):
                log.warning("%s", said)
        for name, result in extract_all(extractions, images):
            results.add(name, result)
    if results.ran_in:
        log.warning("%s", precisions.ran_in_words(asked, results.ran_in, results.n_networks))
    log.info("%s", forecast.timing_table(results.timings, len(images)))
    return results
