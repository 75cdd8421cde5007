"""Judged pairs and tables of activations: valid ones in every form, with cells of all kinds, damaged, and any bytes."""

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from study.extraction.table_blocks import open_blocks
from study.people.pairs import PAIR_COLUMNS, SCORE_COLUMNS, read_pairs
from tests.fuzz.test_tables import CELLS, DAMAGE, ENCODINGS, damaged
from tests.helpers.fuzzing import attempt, fuzzed

PAIRS = pd.DataFrame(
    {
        "k_x": ["17", "3", "17", "8"],
        "k_y": ["3", "1035", "1035.0", "17"],
        "R_user": ["17", "1035", "17", "8"],
        "MS_x_dino": ["0.9", "0.1", "9e-1", "0.5"],
        "MS_y_dino": ["0.1", "", "0.7", "0.9"],
        "note": ["a;b", 'with "quotes"', "", "two\nlines"],
    }
)
VALUES = pd.DataFrame({"k": ["17", "3", "1035"], "a_1": ["0.5", "0", "-1e-9"], "a_2": ["2", "3.25", "1e10"]})
NAMES = st.sampled_from(
    ["k_x", "k_y", "R_user", "MS_x_dino", "MS_x", "MS_y", "_x", "_y", "x_x_x", "x_y_x", "k", "a_1", ""]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pairs")


@st.composite
def changed(draw, table):
    """The table with other cells, rows, columns and names."""
    table = table.copy()
    place = st.tuples(st.integers(0, len(table) - 1), st.sampled_from(list(table.columns)), CELLS)
    for row, name, cell in draw(st.just([]) | st.lists(place, max_size=4)):
        table.loc[row, name] = cell
    if draw(st.integers(0, 4)) == 0:
        columns = list(table.columns)
        columns[draw(st.integers(0, len(columns) - 1))] = draw(NAMES)
        table.columns = columns
    return table.iloc[draw(st.permutations(range(len(table))) | st.lists(st.integers(0, len(table) - 1), max_size=6))]


def checked_pairs(path, reader):
    found = attempt(reader, lambda: read_pairs(path, "sae"))
    if found is None:
        return
    pairs, scores = found
    assert list(pairs.columns) == PAIR_COLUMNS
    assert list(scores.columns) == SCORE_COLUMNS
    assert (pairs[["k_x", "k_y"]] >= 0).all(axis=None)
    assert (pairs["k_x"] != pairs["k_y"]).all()
    assert not np.isinf(scores[["x", "y"]].to_numpy()).any()
    assert set(scores["pair"]) <= set(range(len(pairs)))
    assert not scores.duplicated(["pair", "score"]).any()


def checked_values(path, reader):
    found = attempt(reader, lambda: [(k.copy(), values.copy()) for k, values in open_blocks(path, 2).read()])
    if found is None:
        return
    numbers, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    assert values.shape == (len(numbers), 2)
    assert len(set(numbers.tolist())) == len(numbers)
    assert np.isfinite(values).all()


def written(folder, table, sign, encoding, patches, name):
    path = folder / name
    path.write_bytes(damaged(table.to_csv(index=False, sep=sign).encode(encoding, "replace"), patches))
    return path


@fuzzed(changed(PAIRS), st.sampled_from(",,,;\t"), ENCODINGS, DAMAGE)
def test_pairs_as_csv(folder, table, sign, encoding, patches):
    checked_pairs(written(folder, table, sign, encoding, patches, "pairs.csv"), "pairs, CSV")


@fuzzed(changed(VALUES), st.sampled_from(",,,,,;"), ENCODINGS, DAMAGE)
def test_activations_as_csv(folder, table, sign, encoding, patches):
    checked_values(written(folder, table, sign, encoding, patches, "activations.csv"), "activations, CSV")


@fuzzed(st.binary(max_size=200), st.sampled_from(["", "k_x,k_y,R_user\n", "k,a_1,a_2\n", "PAR1"]))
def test_any_bytes(folder, content, head):
    for name, check in (("pairs.bin", checked_pairs), ("activations.bin", checked_values)):
        (folder / name).write_bytes(head.encode() + content)
        check(folder / name, f"{name}, any bytes")


NUMBERS = st.lists(st.integers(-5, 2**40) | st.none(), min_size=3, max_size=3)
LISTS = st.none() | st.lists(st.floats(width=64) | st.none(), min_size=1, max_size=3) | st.just([1.0, 2.0])


@fuzzed(NUMBERS, st.lists(LISTS, min_size=3, max_size=3), DAMAGE)
def test_activations_as_parquet(folder, numbers, lists, patches):
    content = io.BytesIO()
    pd.DataFrame({"unit": pd.array(numbers, dtype="Int64"), "values": lists}).to_parquet(content)
    (folder / "activations.parquet").write_bytes(damaged(content.getvalue(), patches))
    checked_values(folder / "activations.parquet", "activations, Parquet")


@fuzzed(changed(PAIRS), DAMAGE)
def test_pairs_as_parquet(folder, table, patches):
    content = io.BytesIO()
    table = table.loc[:, ~table.columns.duplicated()]
    table.to_parquet(content)
    (folder / "pairs.parquet").write_bytes(damaged(content.getvalue(), patches))
    checked_pairs(folder / "pairs.parquet", "pairs, Parquet")
