"""A made-up study as large as the paper's, in the folders that the stages `mis`, `stats` and `report` read.

Numbers of units are uneven, as those of networks are; scores, people's answers and pictures are simulated, and no number in
it means anything. Tables that do not grow with the number of units are those of the embedded study, without rows where they
speak of its networks. Margins lie on a grid of 1 / 512, so that 1.4 billion of them take less than 3 GB.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from ruamel.yaml import YAML

from interpretability.randomness import generator
from interpretability.schema import FACTS, KEY, NATURAL
from study.files.tables import read_json, read_parquet, write_csv, write_json, write_parquet
from study.images.manifest import open_images
from study.networks.roster import RESOLVED

BACKEND, LIKE = "dreamsim", "encoder"  # the similarity, and that of the embedded study whose fit it gets
TYPES = ("BatchNorm", "Conv", "GroupNorm", "LayerNorm", "Linear")
LAYERS, N_FAMILIES = 50, 70
N_TASKS, N_EXPLANATIONS = 20, 9
N_IMAGES, SIDE = 1_281_167, 16  # pictures of ImageNet; theirs are noise
STEP = 512  # of margins
SPREAD = 0.8  # standard deviation of the logarithm of a network's number of units
CONSTANT = 0.003  # units without tasks, as a share
NEAR = 0.005  # units with a task that has a near copy
SLOPE = 6.25

draws = partial(generator, 0, "made study")


def names(networks: int) -> list[str]:
    return [f"network{number:04d}" for number in range(networks)]


def sizes(units: int, networks: int) -> NDArray[np.int64]:
    """Units of each network, log-normal: of 835 the largest has about nine times the mean. At least one a layer."""
    share = np.exp(SPREAD * draws("sizes").standard_normal(networks))
    return np.maximum(np.floor(units * share / share.sum()).astype(np.int64), LAYERS)


class Network:
    """Keys and facts of the units of one network: `n` of them over LAYERS layers of three of the five types."""

    def __init__(self, name: str, n: int) -> None:
        self.name, self.n = name, n
        types = np.delete(np.arange(len(TYPES)), draws("types", name).choice(len(TYPES), 2, replace=False))
        self.ends = np.arange(LAYERS + 1) * n // LAYERS
        self.widths = np.diff(self.ends)
        self.layers = [f"blocks.{place}.layer" for place in range(LAYERS)]
        self.types = [TYPES[types[place % len(types)]] for place in range(LAYERS)]

    def keys(self) -> pa.Table:
        """KEY, FACTS, tie_share_pos and tie_share_neg, a row a unit."""
        place = np.repeat(np.arange(LAYERS), self.widths)
        columns = {
            "model": _words(np.zeros(self.n, np.int32), [self.name]),
            "layer": _words(place, self.layers),
            "unit": np.arange(self.n) - self.ends[place],
            "condition": _words(np.zeros(self.n, np.int32), [NATURAL]),
            "layer_type": _words(place, self.types),
            "layer_index": place,
            "depth": place / LAYERS,
            "width": self.widths[place],
            **dict.fromkeys(("tie_share_pos", "tie_share_neg"), np.zeros(self.n, np.float32)),
        }
        return pa.table({name: columns[name] for name in (*KEY, *FACTS, "tie_share_pos", "tie_share_neg")})

    def layer_table(self) -> pd.DataFrame:
        """The network's rows of layers.parquet; two layers are a cluster."""
        place = np.arange(LAYERS)
        facts = {"layer_type": self.types, "layer_index": place, "depth": place / LAYERS, "width": self.widths}
        cluster = [self.layers[at - at % 2] for at in place]
        return pd.DataFrame(
            {"model": self.name, "layer": self.layers, **facts, "cluster": cluster, "offset": self.ends[:-1]}
        )

    def tasks(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Pictures of the natural tasks of some units (units, N, 2 K + 2); of three units in a row two show the same ones."""
        shape = (N_TASKS, 2 * N_EXPLANATIONS + 2)
        told = [draws("tasks", self.name, str(row - (row % 3 == 1))).integers(N_IMAGES, size=shape) for row in rows]
        return np.array(told, np.int32).reshape(-1, *shape)


def _words(codes: NDArray[np.integer], words: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(words)).cast(pa.large_string())


def every_network(units: int, networks: int) -> Iterator[Network]:
    for name, n in zip(names(networks), sizes(units, networks), strict=True):
        yield Network(name, int(n))


def write_study(root: Path, like: Path, units: int, networks: int, params: Path) -> None:
    """Everything that the stages from `mis` on read but pictures and tasks: params.yaml and data/ in `root`.

    like: data/ of the embedded study; params: the file of parameters that is adapted
    """
    data = root / "data"
    data.mkdir(parents=True)
    _write_params(root / "params.yaml", params)
    every = list(every_network(units, networks))
    _write_sides(data, like)
    _write_networks(data, every)
    _write_people(data, like, every)
    (data / "scores").mkdir()
    write_json(data / "scores" / f"{BACKEND}.cost.json", {"n_forwards": N_IMAGES, "n_pairs": units * N_TASKS})
    writer = None
    for network in every:
        table = network.keys()
        for name, column in _margins(network).items():
            table = table.append_column(name, column)
        writer = writer or pq.ParquetWriter(data / "scores" / f"{BACKEND}.parquet", table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None
    writer.close()


def _margins(network: Network) -> dict[str, pa.Array]:
    """Margins of all tasks of a network, and which of them have a near copy."""
    draw = draws("margins", network.name)
    mean = draw.normal(0.3 + 0.02 * draw.standard_normal(), 0.1, (network.n, 1)).astype(np.float32)
    spread = draw.uniform(0.1, 0.2, (network.n, 1)).astype(np.float32)
    margins = mean + spread * draw.standard_normal((network.n, N_TASKS), np.float32)
    margins = np.rint(STEP * margins) / np.float32(STEP)
    near = draw.random(network.n) < NEAR
    tasks = draw.integers(N_TASKS, size=int(near.sum())).astype(np.int16)
    return {"margins": _lists(margins.ravel(), np.full(network.n, N_TASKS)), "near": _lists(tasks, near.astype(int))}


def _lists(values: NDArray[Any], lengths: NDArray[np.integer]) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def _write_params(path: Path, like: Path) -> None:
    yaml = YAML(typ="safe")
    params = yaml.load(like.read_text(encoding="utf-8"))
    params["scores"]["backends"] = [BACKEND]
    params["tuning"]["backends"] = []
    params["human"]["source"] = "imi"  # simulated observers see factors, which photographs have not
    params["report"]["show_images"] = True
    params["report"]["title"] = "A made-up study of many units: no number in it means anything"
    yaml.default_flow_style = False
    with open(path, "w", encoding="utf-8") as file:
        yaml.dump(params, file)


def _write_sides(data: Path, like: Path) -> None:
    """Outs that say nothing of these networks: their files as they are, and their tables without rows."""
    of_simulation = ("crowd_simulation",)
    for folder in ("sensitivity", "explanations", "crowd", *of_simulation, "label_free", "visualisations", "ceiling"):
        _copy(like / folder, data / folder, rows=folder in of_simulation)
    for folder in ("explanation_kinds", "human", "calibration", "tuning", "notes/activations", "notes/tasks"):
        _copy(like / folder, data / folder, rows=False)
    ceiling = read_parquet(like / "ceiling/ceiling.parquet")
    ceiling = ceiling[ceiling["backend"].isin(["", LIKE])].replace({"backend": {LIKE: BACKEND}})
    write_parquet(data / "ceiling/ceiling.parquet", ceiling)
    summary = read_json(like / "tasks/summary.json") | {"n_images": N_IMAGES, "n_tasks": N_TASKS}
    write_json(data / "notes/tasks/summary.json", summary | {"n_explanations": N_EXPLANATIONS, "tail_share": 0.0002})
    (data / "images").mkdir()
    write_csv(data / "images/rejected.csv", pd.read_csv(like / "images/rejected.csv").head(0))
    write_json(data / "images/summary.json", read_json(like / "images/summary.json") | {"n": N_IMAGES})
    numbers = np.arange(N_IMAGES)
    labels = pa.array([f"class {number}" for number in range(1000)])
    manifest = pa.table(
        {
            "image": numbers.astype(np.int32),
            "path": pa.array(numbers).cast(pa.large_string()),
            "label": pa.DictionaryArray.from_arrays(pa.array(numbers % 1000), labels).cast(pa.large_string()),
            **dict.fromkeys(("width", "height"), np.full(N_IMAGES, SIDE, np.int32)),
            "digest": pa.array(numbers).cast(pa.large_string()),
        }
    )
    pq.write_table(manifest, data / "images/manifest.parquet", compression="zstd")
    of_images = {"manifest": open_images(data / "images").digest, "n_natural": N_IMAGES, "made_on": []}
    write_json(data / "visualisations/run.json", read_json(like / "visualisations/run.json") | of_images)


def _copy(like: Path, folder: Path, *, rows: bool) -> None:
    """A folder's tables and JSON files; without `rows` tables have their columns alone."""
    folder.mkdir(parents=True)
    for path in sorted(like.iterdir()):
        target = folder / path.name
        if path.suffix == ".parquet" and not rows:
            pq.write_table(pq.ParquetFile(path).schema_arrow.empty_table(), target)
        elif path.suffix == ".csv" and not rows:
            target.write_text(path.read_text(encoding="utf-8").partition("\n")[0] + "\n", encoding="utf-8")
        elif path.suffix in (".parquet", ".csv", ".json") and path.name != "pages.json":
            shutil.copyfile(path, target)


def _write_networks(data: Path, every: Sequence[Network]) -> None:
    blank = dict.fromkeys(RESOLVED, "")
    roster = [
        {**blank, "name": network.name, "constructor": "resnet18", "weights": "hub", "role": "study"}
        | {"top1": 60 + 30 * number / len(every), "family": f"family{number % N_FAMILIES}"}
        | {"last": 1, "n_params": 10**7, "input_size": 224}
        for number, network in enumerate(every)
    ]
    (data / "models").mkdir()
    write_csv(data / "models/roster.csv", pd.DataFrame(roster)[list(RESOLVED)])
    write_csv(data / "models/failures.csv", pd.DataFrame(columns=["model", "stage", "reason"]))
    layers = pd.concat([network.layer_table() for network in every], ignore_index=True)
    write_csv(data / "notes/activations/clusters.csv", layers[["model", "layer", "cluster"]])
    (data / "activations").mkdir()
    write_parquet(data / "activations/layers.parquet", layers)
    write_csv(data / "notes/tasks/constant_units.csv", pd.concat([_constant(each) for each in every]))


def _constant(network: Network) -> pd.DataFrame:
    """Units of the same layers that had no tasks: numbered behind those that have."""
    place = np.sort(draws("constant", network.name).integers(LAYERS, size=round(CONSTANT * network.n)))
    number = network.widths[place] + pd.Series(place).groupby(place).cumcount().to_numpy()
    facts = {"model": network.name, "layer": np.array(network.layers)[place], "unit": number}
    return pd.DataFrame(
        {**facts, "layer_type": np.array(network.types)[place], "min": 0, "max": 0, "absolute": 1, "relative": 0}
    )


def _write_people(data: Path, like: Path, every: Sequence[Network]) -> None:
    """Simulated answers to natural tasks of the embedded study, said of units here, evenly spaced in networks here."""
    people = read_parquet(like / "human/units.parquet")
    people = people[people["condition"] == NATURAL]
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    asked = people.groupby("model", sort=True)
    for place, (_, units) in enumerate(asked):
        network = every[place * (len(every) - 1) // max(len(asked) - 1, 1)]
        for at, key in enumerate(units[KEY].itertuples(index=False, name=None)):
            row = at * (network.n - 1) // max(len(units) - 1, 1)
            layer = int(np.searchsorted(network.ends, row, side="right")) - 1
            found[key] = (network.name, network.layers[layer], int(row - network.ends[layer]), NATURAL)
    for name in ("human/units", "human/responses", "human/truth", "calibration/split"):
        table = read_parquet(like / f"{name}.parquet")
        keys = [found.get(key) for key in table[KEY].itertuples(index=False, name=None)]
        kept = np.array([key is not None for key in keys])
        table = table[kept].reset_index(drop=True)
        table[KEY] = pd.DataFrame([key for key in keys if key is not None], columns=KEY)
        write_parquet(data / f"{name}.parquet", table)
    for name in ("checks.csv", "exclusions.csv"):
        shutil.copyfile(like / "human" / name, data / "human" / name)
    for name in ("curve", "splits"):
        table = read_parquet(like / f"calibration/{name}.parquet")
        write_parquet(data / f"calibration/{name}.parquet", table[table["backend"] == LIKE].assign(backend=BACKEND))
    write_slope(data, SLOPE, read_json(like / "calibration/slope.json")[LIKE])


def write_slope(data: Path, slope: float, fit: dict[str, Any]) -> None:
    """The slope of the similarity, with the rest of a `fit` and an interval 10 % to either side."""
    ends = {"low": 0.9 * slope, "high": 1.1 * slope}
    write_json(data / "calibration/slope.json", {BACKEND: {**fit, "slope": slope, "temperature": 1 / slope, **ends}})
    write_json(data / "calibration/made.json", {})


def write_pictures(data: Path) -> None:
    """Pixels of noise."""
    shape = (N_IMAGES, SIDE, SIDE, 3)
    pixels = np.lib.format.open_memmap(data / "images/pixels.npy", "w+", np.uint8, shape)
    draw = draws("pixels")
    for start in range(0, N_IMAGES, 1 << 16):
        block = pixels[start : start + (1 << 16)]
        block[:] = np.frombuffer(draw.bytes(block.size), np.uint8).reshape(block.shape)


def write_tasks(data: Path, network: Network, rows: NDArray[np.int64]) -> None:
    """Tasks and extremes of some units of a network; those of the others are holes in the files, which take no room."""
    folder = data / "tasks"
    folder.mkdir(exist_ok=True)
    pq.write_table(network.keys(), folder / f"{network.name}.parquet", compression="zstd")
    told = network.tasks(rows)
    shape = (network.n, N_TASKS, 2 * N_EXPLANATIONS + 2)
    np.lib.format.open_memmap(folder / f"{network.name}.npy", "w+", np.int32, shape)[rows] = told
    sides = {"top_images": told[..., -2], "bottom_images": told[..., -1]}  # queries are the most extreme images
    _write_extremes(data / "activations" / f"{network.name}.safetensors", network.n, rows, sides)


def _write_extremes(path: Path, n: int, rows: NDArray[np.int64], sides: dict[str, NDArray[np.int32]]) -> None:
    """A safetensors file of the images of both sides, (n, pictures) each: N_TASKS of some rows, holes for the rest."""
    width = N_TASKS * (N_EXPLANATIONS + 1)
    size, header = 4 * n * width, {}
    for number, name in enumerate(sides):
        header[name] = {"dtype": "I32", "shape": [n, width], "data_offsets": [number * size, (number + 1) * size]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + 2 * size)
    for number, values in enumerate(sides.values()):
        lists = np.memmap(path, np.int32, "r+", 8 + len(text) + number * size, (n, width))
        lists[rows, :N_TASKS] = values
