"""Preprocessing as JSON of any kind, and pictures of any shape."""

import json

import numpy as np
from hypothesis import strategies as st

from interpretability.networks.preprocessing import Preprocessing
from tests.helpers.fuzzing import attempt, fuzzed

RIGHT = {"crop": 32, "resize": 40, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "interpolation": "bicubic"}
TEXT = json.dumps(RIGHT)
KEYS = [*RIGHT, "mode", "scale", "size", "Crop", ""]
NUMBERS = st.integers(-2, 300) | st.integers() | st.floats() | st.booleans() | st.sampled_from([10**400, 1e308, 5e-324])
WORDS = st.sampled_from(["center", "border", "squash", "bicubic", "bilinear", "nearest"]) | st.text(max_size=8)
VALUES = st.recursive(
    st.none() | NUMBERS | WORDS | st.lists(st.floats(0, 1) | NUMBERS, min_size=3, max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
)


def parse(content):
    """What is read can be written, read again, and used."""
    view = Preprocessing.parse(content, "row 2 (net)")
    assert Preprocessing.parse(view.dumps(), "again") == view
    assert view.normalised(view.fit(np.zeros((3, 4, 3), dtype=np.uint8))[None]).isfinite().all()
    return view


@fuzzed(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4), st.booleans())
def test_changed_values(changes, as_text):
    content = {**RIGHT, **changes}
    attempt("preprocessing, changed values", lambda: parse(json.dumps(content) if as_text else content))


@fuzzed(st.integers(0, len(TEXT)), st.text(max_size=6), st.integers(0, 6))
def test_damaged_text(place, patch, removed):
    attempt("preprocessing, damaged text", lambda: parse(TEXT[:place] + patch + TEXT[place + removed :]))


@fuzzed(st.text(max_size=200) | VALUES)
def test_anything(content):
    attempt("preprocessing, anything", lambda: parse(content))


@fuzzed(
    st.integers(1, 12),
    st.integers(1, 200_000),
    st.booleans(),
    st.integers(1, 64),
    st.integers(1, 300),
    st.sampled_from(["bicubic", "bilinear", "nearest"]),
    st.sampled_from(["center", "border", "squash"]),
)
def test_pictures_of_any_shape(short, long, tall, crop, resize, interpolation, mode):
    shape = (long, short, 3) if tall else (short, long, 3)
    pixels = np.full(shape, 200, dtype=np.uint8)
    view = Preprocessing(
        crop, max(resize, crop) if mode == "center" else resize, (0.5,) * 3, (0.5,) * 3, interpolation, mode
    )
    found = attempt("pictures of any shape", lambda: view.fit(pixels))
    assert found.shape == (3, crop, crop)
    assert mode == "border" or (found == 200).all()
