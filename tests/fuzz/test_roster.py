"""Rosters of any cells and bytes, and kwargs of any JSON."""

import csv
import io
import json

import pytest
from hypothesis import strategies as st

from study.networks.constructors import Constructor
from study.networks.files import identity, weights_file
from study.networks.roster import COLUMNS, read_roster, rows_of
from tests.helpers.fuzzing import attempt, fuzzed

WORDS = st.sampled_from(
    [
        *(
            "",
            "a",
            "A",
            "50",
            "resnet18",
            "x:y",
            "hub",
            "none",
            "trained",
            "study",
            "control",
            "directions",
            "of:a",
            "of:",
            "imi",
            "w.pth#ema",
            "#",
            "0" * 64,
        ),
        *(
            "{}",
            '{"num_classes": 3}',
            "1e999",
            "nan",
            "-1",
            "0x3",
            "layer=d.npy",
            "control:planted",
            "\ufeff",
            "a,b",
            'a"b',
        ),
        *("a\nb", "\0"),
    ]
)
CELLS = WORDS | st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("roster")
    make = "def make(a=1, b=(), **more):\n    return nn.Linear(a, 2)\n"
    few = "def few(a):\n    return nn.Linear(a, 2)\n"
    (made / "net.py").write_text(f"from torch import nn\n\n{make}\n{few}")
    return made


def table(header, rows):
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([header, *rows])
    return buffer.getvalue()


def read(path):
    """All that a roster is asked before a network is built."""
    for row in rows_of(read_roster(path)):
        identity(row)
        attempt("weights of a row", lambda row=row: weights_file(row, path.parent))
    return path


@fuzzed(
    st.lists(st.sampled_from([*COLUMNS, "Name", "model", "code", "last", ""]), unique=True, max_size=6),
    st.lists(st.lists(CELLS, min_size=8, max_size=8), max_size=4),
)
def test_any_cells(folder, columns, rows):
    header = [*dict.fromkeys(["name", "constructor", *columns])]
    path = folder / "cells.csv"
    path.write_text(table(header, [row[: len(header)] for row in rows]), encoding="utf-8", errors="surrogatepass")
    attempt("roster, any cells", lambda: read(path))


@fuzzed(st.integers(0, 400), st.binary(max_size=6), st.integers(0, 6))
def test_damaged_bytes(folder, place, patch, cut):
    rows = [["a", "net:make", '{"a": 3}', "hub", "", "study"], ["b", "resnet18", "", "w.pth", "0" * 64, "similarity"]]
    whole = table(["name", "constructor", "kwargs", "weights", "sha256", "role"], rows).encode()
    path = folder / "damaged.csv"
    path.write_bytes(whole[:place] + patch + whole[place + cut :])
    attempt("roster, damaged bytes", lambda: read(path))


@fuzzed(st.binary(max_size=200))
def test_any_bytes(folder, content):
    path = folder / "any.csv"
    path.write_bytes(content)
    attempt("roster, any bytes", lambda: read(path))


@fuzzed(
    st.sampled_from(
        ["net:make", "net:few", "net:no", "lost:make", "test_resnet", "squeezenet1_1", "resnet18.x", ":", "a:b:c"]
    )
    | st.text(max_size=12).filter(lambda text: not text.startswith("hf")),
    st.dictionaries(
        st.sampled_from(["a", "b", "pretrained", "self", "num_classes", "in_chans", "num_clases"]), JSON, max_size=2
    ),
)
def test_constructors_with_any_kwargs(folder, constructor, kwargs):
    row = {"name": "net", "constructor": constructor, "kwargs": json.dumps(kwargs), "weights": "none"}
    small = all(not isinstance(value, int | float) or abs(value) < 1000 for value in kwargs.values())
    if small:  # a number of outputs that the user wrote may take any memory
        attempt("constructor and kwargs", lambda: Constructor.of(row, folder)())
