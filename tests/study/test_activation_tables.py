"""Tables of activations: read a block at a time, aligned with the images, refused by name."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.errors import StudyError
from study.extraction import table_blocks
from study.extraction.activation_table import columns_of_images
from study.extraction.table_blocks import open_blocks
from study.networks import activation_tables, roster
from study.networks.activation_tables import TableSource, source_of

VALUES = np.array([[0.5, -1.25, 3], [0, 7e-9, -2], [1, 2, 4]], dtype=np.float32)
NUMBERS = [17, 3, 1035]


def csv_text(numbers=NUMBERS, values=VALUES, end="\n"):
    lines = ["k," + ",".join(f"a_{place + 1}" for place in range(len(values[0])))]
    lines += [f"{number}," + ",".join(map(str, row)) for number, row in zip(numbers, values, strict=True)]
    return end.join(lines) + end


def written(tmp_path, content, name="activations.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet(tmp_path, numbers=NUMBERS, values=VALUES, name="unit", kind=None, **options):
    path = tmp_path / "activations.parquet"
    lists = pa.array(list(values), kind or pa.list_(pa.float32()))
    pq.write_table(pa.table({name: numbers, "values": lists}), path, **options)
    return path


def whole(path, n=3):
    blocks = open_blocks(path, n)
    parts = [(numbers.copy(), values.copy()) for numbers, values in blocks.read()]
    return np.concatenate([numbers for numbers, _ in parts]), np.concatenate([values for _, values in parts])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_csv_comes_back_as_it_is(tmp_path, end, mark):
    numbers, values = whole(written(tmp_path, mark + csv_text(end=end).encode()))
    assert numbers.tolist() == NUMBERS
    np.testing.assert_array_equal(values, VALUES)


@pytest.mark.parametrize("name", ["unit", "k"])
@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 3)])
def test_parquet_comes_back_as_it_is(tmp_path, name, kind):
    numbers, values = whole(parquet(tmp_path, name=name, kind=kind))
    assert numbers.tolist() == NUMBERS
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, VALUES)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_blocks_change_nothing(tmp_path, form, monkeypatch):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(23, 11)).astype(np.float32)
    numbers = rng.permutation(23) * 5
    path = parquet(tmp_path, numbers, values) if form == "parquet" else written(tmp_path, csv_text(numbers, values))
    for most in (11, 40, 1000):
        monkeypatch.setattr(table_blocks, "_VALUES", most)
        found, read = whole(path, 11)
        assert found.tolist() == numbers.tolist()
        np.testing.assert_array_equal(read, values)


def test_a_csv_needs_memory_for_one_block_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(table_blocks, "_VALUES", 20_000)
    values = np.random.default_rng(0).normal(size=(600, 1000)).astype(np.float32)
    path = written(tmp_path, csv_text(range(600), values))
    tracemalloc.start()
    total = sum(float(block.sum(dtype=np.float64)) for _, block in open_blocks(path, 1000).read())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == pytest.approx(values.sum(dtype=np.float64))
    assert peak < values.nbytes / 4 < path.stat().st_size / 4


GOOD = csv_text()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the header begins with ''"),
        (GOOD.replace("k,a_1", "unit,a_1"), "the header begins with 'unit, a_1, a_2', it must be k,a_1,...,a_3"),
        (GOOD.replace(",", ";"), "separated by commas"),
        (GOOD.encode("utf-16"), "no text in UTF-8"),
        (GOOD.replace("a_2", "a_9"), "column 3 of the header is 'a_9', it must be a_2"),
        (GOOD.splitlines()[0] + "\n", "has no units"),
        (GOOD.replace("3,0.0", "3,"), "row 3: a_1 is '', it must be a finite number"),
        (GOOD.replace("7e-09", "seven"), "row 3: a_2 is 'seven'"),
        (GOOD.replace("7e-09", "nan"), "row 3: a_2 is 'nan'"),
        (GOOD.replace("7e-09", "-inf"), "row 3: a_2 is '-inf'"),
        (GOOD.replace("7e-09", "1e39"), "row 3: a_2 is '1e39', it must be a finite number, at most 3.4e+38"),
        (GOOD.replace("7e-09", "1_0"), "row 3: a_2 is '1_0'"),
        (GOOD.replace("1035,1.0,2.0,4.0\n", "1035,1.0"), "row 4 has 1 values, the header has 3"),
        (GOOD.replace("1035,", "17,"), "row 4: k is '17', it must be the number of one unit alone"),
        (GOOD.replace("1035,", "1035.5,"), "row 4: k is '1035.5', it must be a whole number"),
        (GOOD.replace("1035,", "-1,"), "row 4: k is '-1', it must be a whole number from 0"),
    ],
)
def test_what_is_wrong_with_a_csv_is_said(tmp_path, content, told):
    path = written(tmp_path, content)
    with pytest.raises(StudyError, match=r"activations\.csv") as caught:
        whole(path)
    assert told in str(caught.value)


def test_another_number_of_images_is_refused(tmp_path):
    with pytest.raises(StudyError, match="3 columns of values, but the study has 5 images"):
        open_blocks(written(tmp_path, GOOD), 5)
    with pytest.raises(StudyError, match="row 2: values has 3 numbers, but the study has 5 images"):
        whole(parquet(tmp_path), 5)


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(table_blocks, "_LONGEST", 30)
    with pytest.raises(StudyError, match="row 2 has more than"):
        whole(written(tmp_path, GOOD.splitlines()[0] + "\n" + "1" * 100))


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"unit": [1, 2], "vals": [[1.0], [2.0]]}, "it must have unit"),
        ({"unit": [1, 2], "k": [1, 2], "values": [[1.0], [2.0]]}, "it must have unit"),
        ({"unit": [1.5, 2.0], "values": [[1.0], [2.0]]}, "column unit holds double"),
        ({"unit": [1, 2], "values": [1.0, 2.0]}, "column values holds double"),
        ({"unit": [1, 2], "values": [["a"], ["b"]]}, "column values holds list"),
        ({"unit": [1, 1], "values": [[1.0], [2.0]]}, "row 3: k is '1'"),
        ({"unit": [1, None], "values": [[1.0], [2.0]]}, "row 3: unit is ''"),
        ({"unit": [1, 2], "values": [[1.0], None]}, "row 3: values is missing"),
        ({"unit": [1, 2], "values": [[1.0], [float("nan")]]}, "row 3: number 1 of values is nan"),
        ({"unit": [1, 2], "values": [[1.0], [1e39]]}, "row 3: number 1 of values is 1e+39"),
        ({"unit": [1, 2], "values": [[1.0], [None]]}, "row 3: number 1 of values is nan"),
    ],
)
def test_what_is_wrong_with_a_parquet_is_said(tmp_path, columns, told):
    pq.write_table(pa.table(columns), tmp_path / "activations.parquet")
    with pytest.raises(StudyError, match=r"activations\.parquet") as caught:
        whole(tmp_path / "activations.parquet", 1)
    assert told in str(caught.value)


def test_a_damaged_parquet_is_refused(tmp_path):
    path = parquet(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StudyError, match="is no Parquet file, or damaged"):
        open_blocks(path, 3)


PATHS = ["n01/b.jpg", "n02/a.jpg", "n01/c.jpg"]


def test_columns_are_images_in_the_order_of_their_file_names(tmp_path):
    source = TableSource(tmp_path / "t.csv", "units", None)
    assert columns_of_images(source, PATHS).tolist() == [1, 0, 2]
    with pytest.raises(StudyError, match=r"n03/a.jpg have one name"):
        columns_of_images(source, [*PATHS, "n03/a.jpg"])


def test_a_file_may_say_whose_column_is_whose(tmp_path):
    file = tmp_path / "images.csv"
    source = TableSource(tmp_path / "t.csv", "units", file)

    def columns(*names, paths=PATHS):
        file.write_text("image\n" + "\n".join(names) + "\n")
        return columns_of_images(source, paths).tolist()

    assert columns("c.jpg", "n01/b.jpg", "n02/a.jpg") == [1, 2, 0]
    assert columns("n03/b.jpg", "n01/b.jpg", paths=["n01/b.jpg", "n03/b.jpg"]) == [1, 0]
    with pytest.raises(StudyError, match=r"row 2: image is 'b\.jpg', several images"):
        columns("b.jpg", "n01/b.jpg", paths=["n01/b.jpg", "n03/b.jpg"])
    with pytest.raises(StudyError, match=r"row 3: image is 'd\.jpg', no image of the study"):
        columns("c.jpg", "d.jpg", "a.jpg")
    with pytest.raises(StudyError, match=r"row 4: image is 'n01/c\.jpg', which column 1 is already"):
        columns("c.jpg", "a.jpg", "n01/c.jpg")
    with pytest.raises(StudyError, match="names 2 images, the study has 3"):
        columns("c.jpg", "a.jpg")


def row(tmp_path, monkeypatch, **cells):
    monkeypatch.setattr(activation_tables, "FOLDER", tmp_path)
    frame = pd.DataFrame([{"name": "sae", "constructor": "table:activations.csv", **cells}])
    frame.to_csv(tmp_path / "roster.csv", index=False)
    return roster.rows_of(roster.read_roster(tmp_path / "roster.csv"))[0]


def test_a_roster_row_names_table_layer_and_images(tmp_path, monkeypatch):
    written(tmp_path, GOOD)
    plain = row(tmp_path, monkeypatch)
    assert roster.is_table(plain)
    assert roster.is_computed(plain)
    assert not roster.is_control(plain)
    assert source_of(plain) == TableSource(tmp_path / "activations.csv", "units", None)
    written(tmp_path, "image\na\n", "images.csv")
    full = row(tmp_path, monkeypatch, kwargs='{"layer": "blocks.22", "images": "images.csv"}')
    source = source_of(full)
    assert source.layer == "blocks.22"
    assert activation_tables.named_files(full) == ["activations.csv", "images.csv"]
    before = source.digest
    assert before != replace(source, images=None).digest
    written(tmp_path, "image\nb\n", "images.csv")
    assert source.digest != before


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ({"role": "control"}, "can only have role study"),
        ({"weights": "hub"}, "weights is 'hub', but table:activations.csv is a table of activations; write none"),
        ({"taps": "imi"}, "taps is 'imi', but"),
        ({"directions": "a=b.npy"}, "directions is 'a=b.npy', but"),
        ({"kwargs": '{"num_classes": 3}'}, "kwargs has num_classes: 3"),
        ({"kwargs": '{"layer": "a b"}'}, "kwargs names the layer 'a b'"),
        ({"kwargs": '{"images": "none.csv"}'}, "file 'none.csv' of activations does not exist"),
        ({"constructor": "table:"}, "file '' of activations does not exist"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(tmp_path, monkeypatch, cells, told):
    written(tmp_path, GOOD)
    with pytest.raises(StudyError) as caught:
        source_of(row(tmp_path, monkeypatch, **cells))
    assert told in str(caught.value)
