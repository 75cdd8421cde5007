"""Generated images whose content is known: the image source of the synthetic study.

An image shows a textured ground, `count` copies of one shape in one hue around one position, and an object
made of parts in another corner. Eight factors say what it shows (`FACTORS`); a 64-bit key in the column
`nuisance` decides everything else (sizes, jitter, contrast, grain). `render` needs only the factor table.

Row i of a stream depends on (seed, stream, i) and the number of categories, so a longer table begins with a
shorter one. Lengths inside an image are shares of its side, x to the right and y down; angles and hues are
in degrees.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.randomness import U64, combine, key64, uniforms
from interpretability.synthetic.factors import FACTORS, OBJECTS, SHAPES, TEXTURES, Floats

# Images drawn at once: enough that a group of equal texture, shape or object is more than a few images.
_BLOCK = 256


def render(factors: pd.DataFrame, size: int) -> NDArray[np.uint8]:
    """Images (n, size, size, 3), RGB in 0..255, of the rows of a factor table, each from its row alone."""
    if size < 16:
        raise ValueError(f"size {size} is too small to show a scene; at least 16")
    pixels = np.empty((len(factors), size, size, 3), dtype=np.uint8)
    for start in range(0, len(factors), _BLOCK):
        block = _Block(factors.iloc[start : start + _BLOCK], size)
        for level in TEXTURES:
            _draw_ground(block, level)
        for level in OBJECTS[1:]:
            _draw_object(block, level)
        for level in SHAPES:
            _draw_shapes(block, level)
        grain = block.grain() * block.nuisance("grain", 0.02, 0.08)[:, None, None]
        shaded = np.clip(block.canvas + grain[:, None], 0.0, 1.0) * np.float32(255.0) + np.float32(0.5)
        pixels[start : start + _BLOCK] = shaded.astype(np.uint8).transpose(0, 2, 3, 1)
    return pixels


class _Block:
    """Images being drawn: factors, nuisance draws and the canvas (images, 3, size, size), RGB 0..1."""

    def __init__(self, factors: pd.DataFrame, size: int) -> None:
        self.size = size
        self.keys = factors["nuisance"].to_numpy(dtype=U64)
        categorical = [factor for factor in FACTORS if factor.kind == "categorical"]
        self.levels = {
            factor.name: np.asarray(factor.levels)[factor.codes(factors[factor.name])] for factor in categorical
        }
        self.numbers = {
            column: factors[column].to_numpy(dtype=np.float32)
            for factor in FACTORS
            if factor.kind != "categorical"
            for column in factor.columns
        }
        self.canvas = np.empty((len(factors), 3, size, size), dtype=np.float32)
        centres = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
        self.x, self.y = centres[None, None, :], centres[None, :, None]
        self.paint = _rgb(self.numbers["colour"], self.nuisance("saturation", 0.75, 0.9), np.float32(0.95))

    def nuisance(self, name: str, low: float = 0.0, high: float = 1.0) -> Floats:
        """One draw from [low, high) an image."""
        return (low + (high - low) * uniforms(combine(self.keys, key64(name)))).astype(np.float32)

    def grain(self) -> Floats:
        """Independent draws from [-1/2, 1/2) for all pixels, (images, size, size)."""
        pixels = np.arange(self.size * self.size, dtype=U64).reshape(self.size, self.size)
        # one mix a pixel is enough for grain: neighbouring counters of SplitMix64 look independent
        keys = combine(self.keys, key64("grain pixels"))[:, None, None]
        return (uniforms(keys + pixels * U64(0x9E3779B97F4A7C15)) - 0.5).astype(np.float32)

    def rows(self, column: str, level: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.levels[column] == level)

    def coverage(self, distance: Floats) -> Floats:
        """Share of every pixel inside a form, from its signed distance (negative inside)."""
        return np.clip(np.float32(0.5) - distance * np.float32(self.size), 0.0, 1.0)

    def blend(self, rows: NDArray[np.int64], alpha: Floats, colour: Floats) -> None:
        """Paint colour (3,) or (rows, 3) over the canvas where alpha (rows, size, size) says so."""
        canvas = self.canvas[rows]
        colour = np.broadcast_to(colour, (len(rows), 3))[:, :, None, None]
        canvas += alpha[:, None] * (colour - canvas)
        self.canvas[rows] = canvas


INK = np.array([0.10, 0.09, 0.13], dtype=np.float32)
IVORY = np.array([0.97, 0.95, 0.88], dtype=np.float32)
# Width of the dark line around shapes and objects, which separates them from every ground.
_OUTLINE = 0.016


def _rgb(hue: Floats, saturation: Floats, value: Floats | np.float32) -> Floats:
    """Colours (n, 3) in 0..1 of hues in degrees (the usual hexagonal HSV)."""
    offsets = np.array([5.0, 3.0, 1.0], dtype=np.float32)
    k = (offsets + hue[:, None] / np.float32(60.0)) % np.float32(6.0)
    value = np.broadcast_to(value, hue.shape)[:, None]
    return value - value * saturation[:, None] * np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0)


def _draw_ground(block: _Block, texture: str) -> None:
    """Fill the images of one texture: two tones of one muted hue, between which the texture moves."""
    rows = block.rows("texture", texture)
    if not len(rows):
        return
    angle = np.deg2rad(block.numbers["orientation"][rows])[:, None, None]
    cycles = block.numbers["frequency"][rows][:, None, None]
    x, y = block.x - np.float32(0.5), block.y - np.float32(0.5)
    # u counts cycles across the texture, v along it; every texture is longer along v and so shows its
    # orientation
    u = cycles * (x * np.cos(angle) + y * np.sin(angle)) + block.nuisance("phase u")[rows, None, None]
    v = cycles * (y * np.cos(angle) - x * np.sin(angle)) + block.nuisance("phase v")[rows, None, None]
    tone = _TEXTURES[texture](u, v, block, rows)
    middle = block.nuisance("brightness", 0.48, 0.66)
    swing = block.nuisance("contrast", 0.13, 0.24)
    hue, saturation = block.nuisance("ground hue", 0.0, 360.0), block.nuisance("ground saturation", 0.1, 0.3)
    dark = _rgb(hue, saturation, middle - swing)[rows, :, None, None]
    light = _rgb(hue, saturation, middle + swing)[rows, :, None, None]
    block.canvas[rows] = dark + tone[:, None] * (light - dark)


def _wave(cycles: Floats) -> Floats:
    return np.float32(0.5) + np.float32(0.5) * np.cos(np.float32(2.0 * np.pi) * cycles)


def _steep(wave: Floats, slope: float) -> Floats:
    """A wave in [0, 1] with its middle stretched, towards a hard edge."""
    return np.clip((wave - np.float32(0.5)) * np.float32(slope) + np.float32(0.5), 0.0, 1.0)


def _from_line(cycles: Floats) -> Floats:
    """Distance to the nearest whole number, 0..1/2."""
    return np.abs(cycles - np.round(cycles))


def _stripes(u: Floats, v: Floats, block: _Block, rows: NDArray[np.int64]) -> Floats:
    return _wave(u)


def _lines(u: Floats, v: Floats, block: _Block, rows: NDArray[np.int64]) -> Floats:
    return np.clip((np.float32(0.2) - _from_line(u)) * np.float32(8.0), 0.0, 1.0)


def _checker(u: Floats, v: Floats, block: _Block, rows: NDArray[np.int64]) -> Floats:
    across, along = _steep(_wave(u), 4.0), _steep(_wave(v * np.float32(0.5)), 8.0)
    return across + along - np.float32(2.0) * across * along


def _dots(u: Floats, v: Floats, block: _Block, rows: NDArray[np.int64]) -> Floats:
    # a row of dots every cycle, the dots of a row closer together than the rows
    along = _from_line(v * np.float32(1.5)) / np.float32(1.5)
    radius = np.sqrt(_from_line(u) ** 2 + along**2)
    return np.clip((np.float32(0.27) - radius) * np.float32(6.0) + np.float32(0.5), 0.0, 1.0)


def _zigzag(u: Floats, v: Floats, block: _Block, rows: NDArray[np.int64]) -> Floats:
    return _steep(_wave(u + np.float32(1.2) * _from_line(v * np.float32(0.75))), 3.0)


def _bricks(u: Floats, v: Floats, block: _Block, rows: NDArray[np.int64]) -> Floats:
    course = np.floor(u)
    joint_along = np.abs(u - course - np.float32(0.5)) - np.float32(0.4)
    joint_across = np.float32(0.06) - _from_line(v * np.float32(0.5) + np.float32(0.5) * (course % 2))
    joint = np.maximum(joint_along, np.float32(2.0) * joint_across)
    return np.clip(np.float32(0.8) - joint * np.float32(8.0), 0.0, 1.0)


def _rings(u: Floats, v: Floats, block: _Block, rows: NDArray[np.int64]) -> Floats:
    return _steep(_wave(np.sqrt(u**2 + (v * np.float32(0.4)) ** 2)), 2.0)


def _noise(u: Floats, v: Floats, block: _Block, rows: NDArray[np.int64]) -> Floats:
    """Four waves of nearly the same direction and frequency, which beat into smooth irregular patches."""
    total = np.zeros(np.broadcast_shapes(u.shape, v.shape), dtype=np.float32)
    for wave in ("1", "2", "3", "4"):
        across = block.nuisance("noise across " + wave, 0.6, 1.3)[rows, None, None]
        along = block.nuisance("noise along " + wave, -0.5, 0.5)[rows, None, None]
        phase = block.nuisance("noise phase " + wave)[rows, None, None]
        total += _wave(across * u + along * v + phase)
    return _steep(total * np.float32(0.25), 2.0)


_Texture = Callable[[Floats, Floats, _Block, NDArray[np.int64]], Floats]
_TEXTURES: dict[str, _Texture] = {
    "stripes": _stripes,
    "lines": _lines,
    "checker": _checker,
    "dots": _dots,
    "zigzag": _zigzag,
    "bricks": _bricks,
    "rings": _rings,
    "noise": _noise,
}


# Forms are signed distances (negative inside) in coordinates where the form fills about [-1, 1] x [-1, 1].


def _circle(x: Floats, y: Floats, cx: float, cy: float, radius: float) -> Floats:
    return np.sqrt((x - np.float32(cx)) ** 2 + (y - np.float32(cy)) ** 2) - np.float32(radius)


def _box(x: Floats, y: Floats, cx: float, cy: float, half_width: float, half_height: float) -> Floats:
    beyond_x = np.abs(x - np.float32(cx)) - np.float32(half_width)
    beyond_y = np.abs(y - np.float32(cy)) - np.float32(half_height)
    return np.maximum(beyond_x, beyond_y)


def _polygon(x: Floats, y: Floats, *corners: tuple[float, float]) -> Floats:
    """Convex polygon, corners clockwise on the screen (y down)."""
    sides = []
    for (x0, y0), (x1, y1) in zip(corners, (*corners[1:], corners[0]), strict=True):
        length = np.hypot(x1 - x0, y1 - y0)
        normal_x, normal_y = np.float32((y1 - y0) / length), np.float32((x0 - x1) / length)
        sides.append(normal_x * (x - np.float32(x0)) + normal_y * (y - np.float32(y0)))
    return _union(*sides, pick=np.maximum)


def _union(*distances: Floats, pick: np.ufunc = np.minimum) -> Floats:
    total = distances[0]
    for distance in distances[1:]:
        total = pick(total, distance)
    return total


def _star(x: Floats, y: Floats) -> Floats:
    """Five-pointed star, folded into one tenth of the plane (after Quilez, "2D distance functions")."""
    c, s = np.float32(np.cos(np.pi / 5)), np.float32(np.sin(np.pi / 5))
    x, y = np.abs(x), -y
    over = np.float32(2.0) * np.maximum(c * x - s * y, 0.0)
    x, y = x - over * c, y + over * s
    over = np.float32(2.0) * np.maximum(-c * x - s * y, 0.0)
    x, y = np.abs(x + over * c), y + over * s - np.float32(1.05)
    inner = np.float32(0.5)
    edge_x, edge_y = inner * s, inner * c - np.float32(1.0)
    along = np.clip((x * edge_x + y * edge_y) / (edge_x**2 + edge_y**2), 0.0, 1.05)
    length = np.sqrt((x - edge_x * along) ** 2 + (y - edge_y * along) ** 2)
    return np.copysign(length, y * edge_x - x * edge_y)


def _heart(x: Floats, y: Floats) -> Floats:
    """Two discs and the kite between them and the tip."""
    x = np.abs(x)
    disc = _circle(x, y, 0.45, -0.3, 0.5)
    # tip, where the straight side touches the disc, centre of the disc, notch
    kite = _polygon(x, y, (-0.5, 0.95), (-0.5, -0.3), (0.45, -0.3), (0.822, 0.034), (0.0, 0.95))
    return np.minimum(disc, kite)


_SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "disc": lambda x, y: _circle(x, y, 0, 0, 0.92),
    "square": lambda x, y: _box(x, y, 0, 0, 0.8, 0.8),
    "triangle": lambda x, y: _polygon(x, y, (0, -1.0), (1.02, 0.75), (-1.02, 0.75)),
    "star": _star,
    "cross": lambda x, y: np.minimum(_box(x, y, 0, 0, 1.0, 0.33), _box(x, y, 0, 0, 0.33, 1.0)),
    "ring": lambda x, y: np.abs(_circle(x, y, 0, 0, 0.7)) - np.float32(0.27),
    "crescent": lambda x, y: np.maximum(_circle(x, y, 0, 0, 1.0), -_circle(x, y, 0.5, -0.15, 0.75)),
    "heart": _heart,
}


def _draw_shapes(block: _Block, shape: str) -> None:
    """Draw `count` copies of one shape, evenly on a small circle around the position."""
    rows = block.rows("shape", shape)
    if not len(rows):
        return
    count = block.numbers["count"][rows]
    # fewer copies are larger, so that the painted area tells less about the count
    radius = block.nuisance("shape size", 0.066, 0.078)[rows] * (np.float32(1.6) - np.float32(0.1) * count)
    # corners of a regular polygon with sides of 2.5 radii, so that copies do not touch
    half_angle = np.float32(np.pi) / np.maximum(count, np.float32(2.0))
    orbit = np.where(count > 1, np.float32(1.25) * radius / np.sin(half_angle), np.float32(0.0))
    start = block.nuisance("shape start", 0.0, 360.0)[rows]
    x, y = _nearest_copy(block, rows, count, orbit, start)
    tilt = np.deg2rad(block.nuisance("shape tilt", -14.0, 14.0)[rows])
    x, y = _turned(x, y, tilt, radius)
    distance = _SHAPES[shape](x, y) * radius[:, None, None]
    block.blend(rows, block.coverage(distance - np.float32(_OUTLINE)), INK)
    block.blend(rows, block.coverage(distance), block.paint[rows])


def _nearest_copy(
    block: _Block, rows: NDArray[np.int64], count: Floats, orbit: Floats, start: Floats
) -> tuple[Floats, Floats]:
    """Offset of every pixel from the nearest copy; copies do not touch, so no other one covers the pixel."""
    best = best_x = best_y = np.float32(np.inf)
    for copy in range(int(count.max())):
        # copies beyond the count repeat the last one and change nothing
        angle = np.deg2rad(start) + np.float32(2.0 * np.pi) * np.minimum(copy, count - 1) / count
        x = block.x - (block.numbers["position_x"][rows] + orbit * np.cos(angle))[:, None, None]
        y = block.y - (block.numbers["position_y"][rows] + orbit * np.sin(angle))[:, None, None]
        squared = x**2 + y**2
        closer = squared < best
        best = np.where(closer, squared, best)
        best_x, best_y = np.where(closer, x, best_x), np.where(closer, y, best_y)
    return best_x, best_y  # pyright: ignore[reportReturnType]


def _turned(x: Floats, y: Floats, angle: Floats, radius: Floats) -> tuple[Floats, Floats]:
    """Coordinates in a form turned by angle (radians) and scaled to radius."""
    c, s = (np.cos(angle) / radius)[:, None, None], (np.sin(angle) / radius)[:, None, None]
    return x * c + y * s, y * c - x * s


_Layers = list[tuple[str, Floats]]


def _house(x: Floats, y: Floats) -> _Layers:
    return [
        ("ivory", _box(x, y, 0, 0.42, 0.66, 0.5)),
        ("paint", _polygon(x, y, (0, -0.95), (0.98, 0.0), (-0.98, 0.0))),
        ("ink", _box(x, y, -0.22, 0.6, 0.17, 0.33)),
        ("ink", _box(x, y, 0.32, 0.42, 0.16, 0.16)),
    ]


def _tree(x: Floats, y: Floats) -> _Layers:
    return [
        ("ivory", _box(x, y, 0, 0.62, 0.16, 0.4)),
        ("paint", _union(_circle(x, y, 0, -0.5, 0.46), _circle(np.abs(x), y, 0.42, 0, 0.42))),
        ("paint", _circle(x, y, 0, 0, 0.4)),
    ]


def _face(x: Floats, y: Floats) -> _Layers:
    smile = np.maximum(np.abs(_circle(x, y, 0, 0.08, 0.5)) - np.float32(0.09), np.float32(0.25) - y)
    return [
        ("ivory", _circle(x, y, 0, 0, 0.92)),
        ("ink", _circle(np.abs(x), y, 0.34, -0.25, 0.15)),
        ("ink", smile),
        ("paint", _circle(x, y, 0, 0.08, 0.15)),
    ]


def _car(x: Floats, y: Floats) -> _Layers:
    wheels = np.abs(x)
    return [
        ("ivory", _polygon(x, y, (-0.4, -0.55), (0.35, -0.55), (0.65, 0.0), (-0.65, 0.0))),
        ("paint", _box(x, y, 0, 0.15, 1.0, 0.27)),
        ("ink", _circle(wheels, y, 0.55, 0.42, 0.27)),
        ("ivory", _circle(wheels, y, 0.55, 0.42, 0.1)),
    ]


def _fish(x: Floats, y: Floats) -> _Layers:
    body = np.maximum(_circle(x, y, 0.2, 0.5, 0.97), _circle(x, y, 0.2, -0.5, 0.97))
    gill = np.abs(_circle(x, y, 0.62, 0.0, 0.5)) + np.maximum(x - np.float32(0.25), 0.0) - np.float32(0.04)
    return [
        ("ivory", _polygon(x, y, (-1.0, -0.5), (-0.45, 0.0), (-1.0, 0.5))),
        ("paint", body),
        ("ivory", _circle(x, y, 0.6, -0.1, 0.16)),
        ("ink", gill),
    ]


def _flower(x: Floats, y: Floats) -> _Layers:
    above = y + np.float32(0.3)
    petals = _union(
        *(
            _circle(x, above, 0.4 * np.cos(angle), 0.4 * np.sin(angle), 0.25)
            for angle in np.arange(6) * np.pi / 3 + np.pi / 6
        )
    )
    return [
        ("ink", _box(x, y, 0, 0.6, 0.07, 0.4)),
        ("ink", np.maximum(_circle(x, y, 0.3, 0.35, 0.42), _circle(x, y, 0.1, 0.8, 0.42))),
        ("paint", petals),
        ("ivory", _circle(x, above, 0, 0, 0.24)),
    ]


def _boat(x: Floats, y: Floats) -> _Layers:
    return [
        ("ink", _box(x, y, 0, -0.15, 0.06, 0.8)),
        ("ivory", _polygon(x, y, (0.1, -0.9), (0.8, 0.2), (0.1, 0.2))),
        ("ivory", _polygon(x, y, (-0.1, -0.6), (-0.1, 0.2), (-0.65, 0.2))),
        ("paint", _polygon(x, y, (-1.0, 0.35), (1.0, 0.35), (0.6, 0.85), (-0.6, 0.85))),
    ]


_OBJECTS: dict[str, Callable[[Floats, Floats], _Layers]] = {
    "house": _house,
    "tree": _tree,
    "face": _face,
    "car": _car,
    "fish": _fish,
    "flower": _flower,
    "boat": _boat,
}


def _draw_object(block: _Block, name: str) -> None:
    """Draw an object in the corner opposite to the position, so that the shapes hide little of it."""
    rows = block.rows("object", name)
    if not len(rows):
        return
    radius = block.nuisance("object size", 0.19, 0.225)[rows]
    x = block.x - _corner(block, rows, "x")[:, None, None]
    y = block.y - _corner(block, rows, "y")[:, None, None]
    x, y = _turned(x, y, np.deg2rad(block.nuisance("object tilt", -8.0, 8.0)[rows]), radius)
    x = x * np.where(block.nuisance("mirrored")[rows] < 0.5, np.float32(1.0), np.float32(-1.0))[:, None, None]
    layers = _OBJECTS[name](x, y)
    paints = {"ink": INK, "ivory": IVORY, "paint": block.paint[rows]}
    radius = radius[:, None, None]
    silhouette = _union(*(distance for _, distance in layers)) * radius
    block.blend(rows, block.coverage(silhouette - np.float32(_OUTLINE)), INK)
    for paint, distance in layers:
        block.blend(rows, block.coverage(distance * radius), paints[paint])


def _corner(block: _Block, rows: NDArray[np.int64], axis: str) -> Floats:
    """Centre of the object along one axis, about the middle of the half that the position is not in."""
    beyond = np.where(block.numbers["position_" + axis][rows] < 0.5, np.float32(0.72), np.float32(0.28))
    return beyond + block.nuisance("object " + axis, -0.03, 0.03)[rows]
