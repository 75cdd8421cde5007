"""What is read of a network: its units, or the directions that its row of the roster names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from interpretability.casts import narrowed
from interpretability.errors import InputError
from interpretability.files import sha256_file
from interpretability.randomness import generator
from study.errors import StudyError, message_of
from study.log import logger
from study.networks.direction_cells import Directions
from study.networks.directions import load_code, load_directions, parse_directions
from study.networks.precisions import FALLBACK, or_fallback, refuse_overflow
from study.networks.roster import RosterRow
from study.params.units import Units
from study.workers.device import device

if TYPE_CHECKING:
    from torch import Tensor, nn

    from interpretability.directions.codes import Code
    from interpretability.directions.readers import Reader
    from interpretability.networks.layers import Layer, LeftOut
    from interpretability.networks.network import Network
    from interpretability.networks.preprocessing import Preprocessing
    from interpretability.networks.taps import Tap
    from study.images.feed import ImageRows

log = logger("activations")

_FIRST = 4  # images by which it is found out what is read
SAMPLE = 2000  # images from which principal components are computed, or all where there are fewer
_LISTED = 20  # layers in a message
_Matrix = NDArray[np.float64]


class DirectionFacts(TypedDict):
    """Directions of one layer: their kind (`direction_cells.KINDS`), the activation of a code (linear for others), how positions
    are pooled and which count, the layer's units, the directions or latents, k of topk (else 0), whether most values are 0 (1
    for codes that are not linear), and the sha256 of the file, if there is one.
    """

    layer: str
    kind: str
    activation: str
    pooling: str
    tokens: str
    input_width: int
    n_latents: int
    k: int
    sparse: int
    digest: str


@dataclass(frozen=True)
class Readout:
    """Layers of a network as they are read, by the names that they have in tables (LAYER@max where pooled by maximum).

    `readers` are for `Capture`, none for units as they are; `width` is the number of units, directions or latents; `axes`
    holds what each stands for among the units (n, units), where that is known; `directions` is empty for units as they are.
    """

    layers: list[Layer]
    left_out: list[LeftOut]
    readers: dict[str, Reader]
    width: dict[str, int]
    axes: dict[str, NDArray[np.float32]]
    directions: list[DirectionFacts]


def read_units(
    row: RosterRow,
    model: nn.Module,
    view: Preprocessing,
    first: Tensor,
    images: ImageRows,
    *,
    rules: Units,
    seed: int,
    batch_size: int,
    precision: str,
) -> Readout:
    """What is read of a network, on the device of its first images `first` (3 or more, prepared).

    `images` give the sample for principal components, which is keyed by `seed`. Raises InputError for a network whose values of
    an image hang on other images, StudyError, which begins with the network's name, for directions that do not fit, and Overflow
    for a network of which float16 does not hold the first images.
    """
    from interpretability.networks.independence import check_independence
    from interpretability.networks.layers import survey
    from interpretability.networks.taps import find_taps

    taps = find_taps([path for path, _ in model.named_modules()], row["taps"])
    found = survey(model, first[:3], taps=taps, **asdict(rules))
    refuse_overflow(check_independence(model, found.layers, first, precision=precision), precision)
    if not row["directions"]:
        return Readout(found.layers, found.left_out, {}, {layer.name: layer.width for layer in found.layers}, {}, [])
    cell, path = parse_directions(row["directions"])
    layers = chosen_layers(row, model, first, rules, found.layers)
    if further := [layer for layer in layers if layer not in found.layers]:
        refuse_overflow(check_independence(model, further, first, precision=precision), precision)
    components = None
    if cell.kind == "pca":
        try:
            components = _components(model, layers, view, images, seed, batch_size, precision)
        except InputError as error:
            raise StudyError(f"{row['name']}: directions {row['directions']}: {message_of(error)}") from None
    left_out = [each for each in found.left_out if each.name not in {layer.name for layer in layers}]
    return _readout(row, cell, path, layers, left_out, components)


class ReadingParams(Protocol):
    """What says how units are read."""

    @property
    def seed(self) -> int: ...
    @property
    def units(self) -> Units: ...
    @property
    def activations(self) -> BatchParams: ...


class BatchParams(Protocol):
    """How images go through a network."""

    @property
    def batch_size(self) -> int: ...
    @property
    def precision(self) -> str: ...


@dataclass(frozen=True)
class Opened:
    """A network on a device, what it is shown, its first images prepared, what is read of it, and the precision it runs in."""

    model: nn.Module
    view: Preprocessing
    first: Tensor
    read: Readout
    precision: str


def open_units(
    network: Network, row: RosterRow, images: ImageRows, params: ReadingParams, there: str, precision: str = ""
) -> Opened:
    """What is read of a network on the device `there`, found out by the first of the images, in the precision of the study or a
    given one; in FALLBACK where float16 does not hold these images. Raises as `read_units`, but for that.
    """
    model, view, settings = network.model.to(there), network.preprocessing, params.activations
    first = view.batch([images.pixels(index) for index in range(min(_FIRST, len(images)))], there)
    precision = precision or settings.precision

    def read(precision: str) -> Opened:
        sizes = {"seed": params.seed, "batch_size": settings.batch_size}
        read = read_units(row, model, view, first, images, rules=params.units, precision=precision, **sizes)
        return Opened(model, view, first, read, precision)

    told = "%s: float16 does not hold all values of its first images; it runs in %s", row["name"], FALLBACK
    return or_fallback(precision, read, lambda: log.warning(*told))


def check_directions(row: RosterRow, model: nn.Module, first: Tensor, rules: Units, layers: Sequence[Layer]) -> None:
    """Raise StudyError for directions that do not fit a network, whatever the images; `layers` are those with units."""
    if not row["directions"]:
        return
    from interpretability.networks.capture import Capture

    cell, path = parse_directions(row["directions"])
    chosen = chosen_layers(row, model, first, rules, layers)
    if cell.kind != "pca":  # which exists only once images are there
        read = _readout(row, cell, path, chosen, [], None)
        Capture(model, read.layers, len(first), first.device, readers=read.readers)(first)


def n_directions(row: RosterRow, layers: Sequence[Layer]) -> dict[str, int]:
    """Directions of each of the chosen layers, by its name in tables; of principal components the most there can be."""
    cell, path = parse_directions(row["directions"])
    numbers = {}
    for layer in layers:
        if path is not None:
            code = _code(cell, path, layer, None)
            n = layer.width if code is None else len(code.encoder)
        elif cell.kind == "pca":
            n = min(layer.width, SAMPLE - 1)
        else:
            n = cell.n or layer.width
        numbers[cell.called(layer.name)] = n
    return numbers


def chosen_layers(
    row: RosterRow, model: nn.Module, first: Tensor, rules: Units, layers: Sequence[Layer]
) -> list[Layer]:
    """The layers that directions name: of a pattern those among `layers`, of a name any layer of the wanted types, also the
    first and last, else the output of the module of that name.
    """
    from interpretability.networks.layers import find_layers
    from interpretability.networks.taps import find_taps

    cell, path = parse_directions(row["directions"])
    if cell.is_pattern:
        if chosen := [layer for layer in layers if cell.names(layer.name)]:
            return chosen
        raise _no_layer(row, cell.layer, [layer.name for layer in layers])
    paths = [name for name, _ in model.named_modules()]
    taps, wanted = find_taps(paths, row["taps"]), asdict(replace(rules, drop_first_last=False))
    everything = find_layers(model, first[:3], taps=taps, **wanted)
    chosen = [layer for layer in everything if layer.name == cell.layer]
    if not chosen and cell.layer in paths and (tap := _tap(model, first, cell, path)) is not None:
        found = find_layers(model, first[:3], taps=[*taps, tap], **wanted)
        chosen = [layer for layer in found if layer.name == cell.layer]
    if not chosen:
        raise _no_layer(row, cell.layer, [layer.name for layer in everything], paths)
    return chosen


def _tap(model: nn.Module, first: Tensor, cell: Directions, path: Path | None) -> Tap | None:
    """The output of a module that is no layer of a wanted type, such as the sum behind a block of a transformer."""
    import torch

    from interpretability.networks.modules import first_tensor, hooks, read
    from interpretability.networks.taps import Tap

    shapes: list[tuple[int, ...]] = []

    def note(value: object) -> None:
        if (tensor := first_tensor(value)) is not None:
            shapes.append(tuple(tensor.shape))

    with hooks() as add, torch.no_grad():
        read(add, model.get_submodule(cell.layer), "output", note)
        model(first[:2])
    if not shapes or not 2 <= len(shapes[0]) <= 4:
        return None
    axis, shape = (1 if len(shapes[0]) == 4 else -1), shapes[0]
    if len(shape) == 4 and path is not None:
        width = _input_width(cell, path)
        axis = -1 if width == shape[-1] != shape[1] else 1
    return Tap(cell.layer, cell.layer, "output", axis)


def _input_width(cell: Directions, path: Path) -> int:
    """Width of the layer that a file of directions is for; 0 where the file is none, which is told when it is read."""
    from interpretability.directions.files import read_code

    try:
        return read_code(path).encoder.shape[1] if cell.kind == "code" else len(np.load(path, allow_pickle=False))
    except (InputError, ValueError, EOFError, TypeError):
        return 0


def _no_layer(row: RosterRow, name: str, known: Sequence[str], paths: Sequence[str] = ()) -> StudyError:
    near = difflib.get_close_matches(name, [*known, *(path for path in paths if path not in known)], 3)
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return StudyError(
        f"{row['name']}: directions name layer {name!r}, which is none of {', '.join(known[:_LISTED])}{more}"
        f"{(near and '; did you mean ' + ' or '.join(near) + '?') or ''}. Correct the column directions of its row"
    )


def _readout(
    row: RosterRow,
    cell: Directions,
    path: Path | None,
    layers: Sequence[Layer],
    left_out: list[LeftOut],
    components: Mapping[str, _Matrix] | None,
) -> Readout:
    from interpretability.directions.readers import CodeReader, UnitReader

    digest = sha256_file(path) if path is not None else ""
    read = Readout([], left_out, {}, {}, {}, [])
    for layer in layers:
        name = cell.called(layer.name)
        code = _code(cell, path, layer, components)
        read.layers.append(replace(layer, name=name))
        read.width[name] = layer.width if code is None else len(code.encoder)
        if code is not None:
            read.readers[name] = CodeReader(code, cell.pooling, device())
            _warn_of_another_layer(row, code, layer.name)
            if code.decoder is not None:
                read.axes[name] = code.decoder.numpy()
        elif cell.pooling == "max":
            read.readers[name] = UnitReader(layer.width, cell.pooling)
        activation = "linear" if code is None else code.activation
        read.directions.append(
            {
                "layer": name,
                "kind": cell.kind,
                "activation": activation,
                "pooling": cell.pooling,
                "tokens": "all" if code is None else code.tokens,
                "input_width": layer.width,
                "n_latents": read.width[name],
                "k": 0 if code is None else code.k,
                "sparse": int(activation != "linear"),
                "digest": digest,
            }
        )
    return read


def _warn_of_another_layer(row: RosterRow, code: Code, layer: str) -> None:
    if code.layer and code.layer != layer:
        log.warning(
            "%s: its code was made for layer %s, and reads %s; right only where these are two names of one place",
            *(row["name"], code.layer, layer),
        )


def _code(cell: Directions, path: Path | None, layer: Layer, components: Mapping[str, _Matrix] | None) -> Code | None:
    """The code of a layer, linear but for files of codes; None for the units themselves. Columns of a matrix are its decoder."""
    if cell.kind == "units":
        return None
    if cell.kind == "code" and path is not None:
        return load_code(path, layer.name, layer.width, tokens=layer.channel_axis == 2)
    if cell.kind == "matrix" and path is not None:
        return _linear(load_directions(path, layer.name, layer.width))
    from interpretability.directions import built_in

    if cell.kind == "rotation":
        matrix = built_in.rotation(cell.seed, layer.name, layer.width)
    elif cell.kind == "random":
        matrix = built_in.random_directions(cell.seed, layer.name, layer.width, cell.n or None)
    else:
        matrix = (components or {})[layer.name]
    return _linear(narrowed(matrix, np.float32, "directions"))


def _linear(matrix: NDArray[np.float32]) -> Code:
    import torch

    from interpretability.directions.codes import Code

    rows = torch.from_numpy(np.ascontiguousarray(matrix.T))
    return Code(encoder=rows, decoder=rows)


def _components(
    model: nn.Module,
    layers: Sequence[Layer],
    view: Preprocessing,
    images: ImageRows,
    seed: int,
    batch_size: int,
    precision: str,
) -> dict[str, _Matrix]:
    """Principal components of each layer's means over positions, from a keyed sample of the images."""
    from interpretability.directions.built_in import principal
    from interpretability.networks.capture import Capture

    n = len(images)
    sample = np.sort(generator(seed, "images of principal components").permutation(n)[:SAMPLE])
    values = np.empty((len(sample), sum(layer.width for layer in layers)), dtype=np.float32)
    with Capture(model, layers, batch_size, device(), precision=precision) as capture:
        for start in range(0, len(sample), batch_size):
            batch = view.batch([images.pixels(int(index)) for index in sample[start : start + batch_size]], device())
            means = capture(batch)
            refuse_overflow(means, precision)
            values[start : start + len(batch)] = means.cpu().numpy()
    ends = np.cumsum([layer.width for layer in layers])[:-1]
    parts = np.split(values, ends, axis=1)
    return {layer.name: principal(part) for layer, part in zip(layers, parts, strict=True)}
