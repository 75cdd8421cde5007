"""Generated pictures: reproducible tables, and pictures that show what their factors say."""

from __future__ import annotations

import colorsys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from interpretability.synthetic import draws, factors, scenes, training

SIZE = 64
PLAIN = {
    "colour": 0.0,
    "orientation": 0.0,
    "frequency": 4.0,
    "texture": "stripes",
    "shape": "disc",
    "object": "none",
    "count": 1,
    "position_x": 0.5,
    "position_y": 0.5,
    "category": 0,
}


def table(*rows: dict) -> pd.DataFrame:
    """Factor table with the values of PLAIN where a row says nothing else; rows share their nuisance."""
    frame = pd.DataFrame([{**PLAIN, **row} for row in rows])
    frame["nuisance"] = np.uint64(12345)
    return frame


def drawn(n: int, **choices) -> pd.DataFrame:
    return draws.draw_factors(n, **{"seed": 0, "stream": "study", "n_categories": 24, **choices})


def paint_mask(picture: np.ndarray) -> np.ndarray:
    """Pixels of the saturated colour of shapes and objects; grounds, ink and ivory stay below 0.35."""
    rgb = picture.astype(float)
    return rgb.max(2) - rgb.min(2) > 0.55 * 255


@settings(max_examples=20, deadline=None)
@given(short=st.integers(1, 60), extra=st.integers(0, 60), seed=st.integers(0, 2**31))
def test_a_longer_table_begins_with_the_shorter_one(short, extra, seed):
    long = drawn(short + extra, seed=seed)
    pd.testing.assert_frame_equal(long.iloc[:short], drawn(short, seed=seed))


def test_seed_and_stream_change_every_column():
    base = drawn(50)
    for other in (drawn(50, seed=1), drawn(50, stream="validation")):
        for column in base.columns:
            assert (base[column] != other[column]).any(), column


def test_values_stay_in_their_ranges_and_use_all_levels():
    frame = drawn(3000)
    for factor in factors.FACTORS:
        for column in factor.columns:
            values = frame[column]
            if factor.levels:
                assert set(values) == set(factor.levels)
            else:
                assert values.between(factor.low, factor.high).all()
                # even over the range: each tenth holds 10 % of the values, 24 preferred places make it uneven
                shares = np.histogram(factor.scaled(values), bins=10, range=(0, 1))[0] / len(frame)
                assert shares.min() > 0.05
    assert frame["nuisance"].is_unique
    assert set(frame["category"]) == set(range(24))


@pytest.mark.parametrize("stream", ["study", "validation"])
def test_categories_prefer_the_same_values_in_every_stream(stream):
    frame = drawn(6000, stream=stream)
    preferred = draws.preferences(0, 24)
    for name in ("texture", "shape", "object"):
        factor = next(factor for factor in factors.FACTORS if factor.name == name)
        # kept with probability 0.65, else one of 8 levels by chance: 0.65 + 0.35 / 8 = 0.694
        codes = (preferred[name].to_numpy() * 8).astype(int)[frame["category"]]
        assert np.mean(factor.codes(frame[name]) == codes) == pytest.approx(0.694, abs=0.03)


def test_both_coordinates_of_a_position_are_kept_together():
    frame, preferred = drawn(6000), draws.preferences(0, 24)
    position = factors.FACTORS[-1]
    near = [
        np.abs(position.scaled(frame[column]) - preferred[column].to_numpy()[frame["category"]])
        <= draws.PREFERENCE_SPREAD
        for column in position.columns
    ]
    # kept: 0.65; replaced and near by chance in one coordinate: at most 0.35 * 2 * 0.08
    assert np.mean(near[0] & near[1]) > 0.64
    assert np.mean(near[0] ^ near[1]) < 0.06


def test_a_table_survives_parquet(tmp_path):
    frame = drawn(20)
    frame.to_parquet(tmp_path / "factors.parquet")
    back = pd.read_parquet(tmp_path / "factors.parquet")
    assert np.array_equal(scenes.render(back, 32), scenes.render(frame, 32))


@pytest.mark.parametrize(("n", "n_categories"), [(0, 24), (5, 0)])
def test_empty_draws_are_refused(n, n_categories):
    with pytest.raises(ValueError, match="at least 1"):
        drawn(n, n_categories=n_categories)


def test_a_picture_depends_on_its_own_row_alone():
    frame = drawn(300)
    pictures = scenes.render(frame, SIZE)
    assert pictures.shape == (300, SIZE, SIZE, 3)
    assert pictures.dtype == np.uint8
    order = np.random.default_rng(0).permutation(300)[:70]
    assert np.array_equal(scenes.render(frame.iloc[order], SIZE), pictures[order])
    assert len(np.unique(pictures.reshape(300, -1), axis=0)) == 300


@pytest.mark.parametrize(
    "change",
    [
        {"colour": 120.0},
        {"orientation": 60.0},
        {"frequency": 8.0},
        {"texture": "bricks"},
        {"shape": "star"},
        {"object": "house"},
        {"count": 3},
        {"position_x": 0.3},
        {"position_y": 0.3},
    ],
)
def test_every_factor_shows(change):
    plain, changed = scenes.render(table({}, change), SIZE).astype(int)
    assert (np.abs(plain - changed).max(axis=2) > 30).mean() > 0.01


def test_the_category_does_not_show():
    plain, changed = scenes.render(table({}, {"category": 7}), SIZE)
    assert np.array_equal(plain, changed)


def test_all_levels_look_different():
    for name, levels in (("texture", factors.TEXTURES), ("shape", factors.SHAPES), ("object", factors.OBJECTS)):
        pictures = scenes.render(table(*({name: level} for level in levels)), SIZE).astype(int)
        for first in range(len(levels)):
            for second in range(first):
                assert (np.abs(pictures[first] - pictures[second]).max(axis=2) > 30).sum() > 10


@pytest.mark.parametrize("hue", [0.0, 60.0, 200.0, 300.0])
@pytest.mark.parametrize("thing", [{"shape": "square"}, {"object": "car", "count": 1}])
def test_shapes_and_objects_are_painted_in_the_hue(hue, thing):
    picture = scenes.render(table({"colour": hue, **thing}), SIZE)[0]
    red, green, blue = picture[paint_mask(picture)].mean(axis=0) / 255
    measured = 360 * colorsys.rgb_to_hsv(red, green, blue)[0]
    assert abs((measured - hue + 180) % 360 - 180) < 12


@pytest.mark.parametrize("count", factors.COUNTS)
@pytest.mark.parametrize("shape", ["disc", "square", "heart"])
def test_as_many_separate_shapes_as_the_count(count, shape):
    picture = scenes.render(table({"count": count, "shape": shape}), SIZE)[0]
    assert ndimage.label(paint_mask(picture))[1] == count


@pytest.mark.parametrize("place", [(0.3, 0.3), (0.7, 0.3), (0.3, 0.7), (0.5, 0.5)])
def test_shapes_surround_the_position_and_the_object_lies_opposite(place):
    position = dict(zip(("position_x", "position_y"), place, strict=True))
    shapes, both = scenes.render(table({**position, "count": 4}, {**position, "count": 4, "object": "face"}), SIZE)
    rows, columns = np.nonzero(paint_mask(shapes))
    assert (columns.mean() + 0.5) / SIZE == pytest.approx(place[0], abs=0.02)
    assert (rows.mean() + 0.5) / SIZE == pytest.approx(place[1], abs=0.02)
    rows, columns = np.nonzero(np.abs(both.astype(int) - shapes).max(axis=2) > 30)
    assert ((columns.mean() / SIZE - 0.5) > 0) == (place[0] < 0.5)
    assert ((rows.mean() / SIZE - 0.5) > 0) == (place[1] < 0.5)


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 150.0])
@pytest.mark.parametrize("cycles", [4.0, 8.0])
def test_stripes_have_the_orientation_and_the_frequency(angle, cycles):
    picture = scenes.render(table({"orientation": angle, "frequency": cycles}), SIZE)[0].mean(axis=2)
    window = np.hanning(SIZE)[:, None] * np.hanning(SIZE)
    spectrum = np.abs(np.fft.fft2((picture - picture.mean()) * window, s=(256, 256)))
    waves = np.fft.fftfreq(256, 1 / SIZE)
    spectrum[np.hypot(waves[:, None], waves) < 2] = 0  # the disc in the middle
    row, column = np.unravel_index(np.argmax(spectrum), spectrum.shape)
    wave_y, wave_x = waves[[row, column]]
    assert np.hypot(wave_x, wave_y) == pytest.approx(cycles, rel=0.1)
    measured = np.degrees(np.arctan2(wave_y, wave_x)) % 180
    assert abs((measured - angle + 90) % 180 - 90) < 6


def test_unknown_levels_and_tiny_pictures_are_refused():
    with pytest.raises(ValueError, match=r"texture: unknown level 'tartan'; allowed: \['stripes'"):
        scenes.render(table({"texture": "tartan"}), SIZE)
    with pytest.raises(ValueError, match="size 8"):
        scenes.render(table({}), 8)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), ignored=st.sets(st.sampled_from(factors.FACTOR_NAMES), max_size=7))
def test_factor_vectors_have_unit_length(seed, ignored):
    vectors = factors.factor_vectors(drawn(20, seed=seed), ignore=tuple(ignored))
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "likeness"),
    [
        ({}, {}, 1.0),
        # eight blocks; opposite ends of one turn its part of the product from 1/8 to -1/8
        ({"colour": 10.0}, {"colour": 190.0}, 6 / 8),
        ({"colour": 10.0}, {"colour": 100.0}, 7 / 8),
        ({"colour": 0.0}, {"colour": 360.0}, 1.0),
        ({"orientation": 0.0}, {"orientation": 90.0}, 6 / 8),
        ({"orientation": 0.0}, {"orientation": 180.0}, 1.0),
        ({"frequency": 2.5}, {"frequency": 9.0}, 6 / 8),
        # a middle on the log scale: a quarter turn from either end
        ({"frequency": 2.5}, {"frequency": (2.5 * 9.0) ** 0.5}, 7 / 8),
        ({"texture": "stripes"}, {"texture": "noise"}, 7 / 8),
        ({"shape": "disc"}, {"shape": "heart"}, 7 / 8),
        ({"object": "none"}, {"object": "boat"}, 7 / 8),
        ({"count": 1}, {"count": 6}, 6 / 8),
        # one of two coordinates: half a block
        ({"position_x": 0.24}, {"position_x": 0.76}, 7 / 8),
        ({"category": 0}, {"category": 1}, 1.0),
    ],
)
def test_likeness_of_two_scenes(first, second, likeness):
    one, other = factors.factor_vectors(table(first, second))
    assert one @ other == pytest.approx(likeness, abs=1e-6)


def test_an_ignored_factor_makes_no_difference_and_others_weigh_more():
    rows = table({}, {"frequency": 9.0}, {"texture": "noise"})
    plain, faster, other = factors.factor_vectors(rows, ignore=("frequency",))
    assert np.array_equal(plain, faster)
    assert plain @ other == pytest.approx(6 / 7, abs=1e-6)
    with pytest.raises(ValueError, match="size"):
        factors.factor_vectors(rows, ignore=("size",))
    with pytest.raises(ValueError, match="no factor"):
        factors.factor_vectors(rows, ignore=factors.FACTOR_NAMES)


def test_encoder_labels_of_a_hand_checked_scene():
    rows = table(
        {"colour": 100.0, "orientation": 95.0, "frequency": 2.5, "position_x": 0.3, "position_y": 0.7},
        {"colour": 359.9, "orientation": 179.9, "frequency": 9.0, "count": 6, "object": "boat"},
    )
    targets, sizes = training.encoder_targets(rows)
    assert sizes == (8, 6, 4, 8, 8, 8, 6, 4)
    # hue 100 of 45-degree bins: 2; angle 95 of 30-degree bins: 3; left (0) and lower (1) half: 0 * 2 + 1
    assert targets[0].tolist() == [2, 3, 0, 0, 0, 0, 0, 1]
    # the upper end of a range belongs to the last bin; the middle of the picture to the right and lower half
    assert targets[1].tolist() == [7, 5, 3, 0, 0, 7, 5, 3]


def test_encoder_labels_stay_below_their_sizes_and_use_them_all():
    targets, sizes = training.encoder_targets(drawn(2000))
    assert targets.dtype == np.int64
    assert [sorted(set(column)) for column in targets.T] == [list(range(size)) for size in sizes]
