"""Files of the stages: whole or not there, the same bytes for the same content, and names that stay names."""

from __future__ import annotations

import errno

import numpy as np
import pandas as pd
import pytest
from safetensors import SafetensorError

from interpretability.errors import InputError
from interpretability.files import atomic_path, sha256_file
from study.files.tables import (
    fresh_folder,
    list_column,
    read_csv,
    read_json,
    read_parquet,
    write_csv,
    write_json,
    write_parquet,
    write_text,
)


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


# --------------------------------------------------------------------------- whole or not there


def write_half(path, error):
    with atomic_path(path) as part:
        part.write_text("half")
        raise error


def test_an_error_leaves_no_file_behind(tmp_path):
    with pytest.raises(RuntimeError):
        write_half(tmp_path / "table.csv", RuntimeError)
    assert listing(tmp_path) == []


def test_an_error_leaves_the_file_that_was_there(tmp_path):
    write_text(tmp_path / "table.csv", "old")
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "table.csv", KeyboardInterrupt)
    assert listing(tmp_path) == ["table.csv"]
    assert (tmp_path / "table.csv").read_text() == "old"


def test_the_target_is_untouched_until_the_block_ends(tmp_path):
    write_text(tmp_path / "table.csv", "old")
    with atomic_path(tmp_path / "table.csv") as part:
        part.write_text("new")
        assert (tmp_path / "table.csv").read_text() == "old"
    assert (tmp_path / "table.csv").read_text() == "new"
    assert listing(tmp_path) == ["table.csv"]


def test_folders_are_made_and_files_are_readable_by_all(tmp_path):
    write_text(tmp_path / "a" / "b" / "note.txt", "x")
    assert (tmp_path / "a" / "b" / "note.txt").stat().st_mode & 0o777 == 0o644


def test_a_fresh_folder_keeps_nothing(tmp_path):
    write_text(tmp_path / "out" / "deep" / "old.txt", "x")
    assert listing(fresh_folder(tmp_path / "out")) == []


def save_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(100_000))


def save_tensors(path):
    # what safetensors raises on a full disk; it writes beside the file, so the stand-in for the disk does not meet it
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def save_part_of_an_array(path):
    # what numpy raises where the disk fills up inside the array; the error has no number
    raise OSError("100000 requested and 8176 written")


def save_text(path):
    path.write_text("x" * 100_000)


def save_table(path):
    pd.DataFrame({"value": np.arange(100_000.0)}).to_parquet(path)


@pytest.mark.parametrize("save", [save_array, save_part_of_an_array, save_tensors, save_text, save_table])
def test_a_full_disk_is_the_same_error_for_every_library(tmp_path, full_disk, save):
    full_disk(tmp_path)
    with pytest.raises(OSError) as caught, atomic_path(tmp_path / "big.bin") as part:
        save(part)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "big.bin")
    assert listing(tmp_path) == []


@pytest.mark.parametrize("error", [FileNotFoundError(2, "lost"), OSError("odd"), ValueError("28 of 30 written")])
def test_another_error_stays_what_it_is(tmp_path, error):
    with pytest.raises(type(error)) as caught:
        write_half(tmp_path / "table.csv", error)
    assert caught.value is error


# --------------------------------------------------------------------------- CSV


def test_csv_has_six_digits_unix_line_ends_and_empty_cells(tmp_path):
    frame = pd.DataFrame(
        {
            "name": ["a", ""],
            "value": [1 / 3, np.nan],
            "large": [1e15 / 3, 2.0],
            "whole": [25_557_032, 1],
            "yes": [True, False],
        }
    )
    write_csv(tmp_path / "t.csv", frame)
    expected = b"name,value,large,whole,yes\na,0.333333,3.33333e+14,25557032,1\n,,2,1,0\n"
    assert (tmp_path / "t.csv").read_bytes() == expected


def test_floats_beside_empty_text_have_six_digits_too(tmp_path):
    # a network without a known accuracy has an empty cell, and the column holds objects
    write_csv(tmp_path / "t.csv", pd.DataFrame({"top1": [3.5000000000000004, "", 100 / 3]}, dtype=object))
    assert (tmp_path / "t.csv").read_text() == 'top1\n3.5\n""\n33.3333\n'


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_equal_tables_are_equal_bytes(tmp_path, suffix):
    write = {"csv": write_csv, "parquet": write_parquet}[suffix]
    frame = pd.DataFrame({"name": ["b", "a", "c"], "value": [0.1, np.nan, -0.0]})
    write(tmp_path / f"1.{suffix}", frame)
    # the same rows by another road, with another index
    write(tmp_path / f"2.{suffix}", pd.concat([frame.iloc[:1], frame.iloc[1:].set_index([[7, 9]])]))
    assert (tmp_path / f"1.{suffix}").read_bytes() == (tmp_path / f"2.{suffix}").read_bytes()


def test_names_that_look_like_numbers_stay_as_they_are(tmp_path):
    names = {"layer": ["0.10", "0.2", "1e3"], "label": ["007", "", "1"], "model": ["50", "nan", "null"]}
    write_csv(tmp_path / "t.csv", pd.DataFrame({**names, "value": [1.5, np.nan, 2]}))
    frame = read_csv(tmp_path / "t.csv", text=["layer", "label", "model"])
    assert {name: list(frame[name]) for name in names} == names
    assert frame["value"].dtype == np.float64
    assert frame["value"].isna().tolist() == [False, True, False]


def test_a_column_with_any_other_text_is_text(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c\n1,,x\n0.10,,2\nno,,\n")
    frame = read_csv(tmp_path / "t.csv")
    assert list(frame["a"]) == ["1", "0.10", "no"]
    assert list(frame["b"]) == ["", "", ""]
    assert list(frame["c"]) == ["x", "2", ""]


def test_odd_text_survives_a_round_trip(tmp_path):
    odd = [
        "with, comma",
        'with "quotes"',
        "two\nlines",
        " spaces ",
        "<script>alert(1)</script>",
        "Ünï 猫",
        "'",
        "#",
        "NA",
    ]
    write_csv(tmp_path / "t.csv", pd.DataFrame({"path": odd, "n": range(len(odd))}))
    assert list(read_csv(tmp_path / "t.csv", text=["path"])["path"]) == odd
    assert list(pd.read_csv(tmp_path / "t.csv", dtype=str, keep_default_na=False)["path"]) == odd


def test_a_carriage_return_in_a_name_does_not_break_the_row(tmp_path):
    write_csv(tmp_path / "t.csv", pd.DataFrame({"path": ["a\rb.txt", "c"], "reason": ["x", "y"]}))
    frame = read_csv(tmp_path / "t.csv")
    assert list(frame["path"]) == ["a\\rb.txt", "c"]


def test_a_table_without_rows_keeps_its_header(tmp_path):
    write_csv(tmp_path / "t.csv", pd.DataFrame(columns=["model", "reason"]))
    frame = read_csv(tmp_path / "t.csv", ["reason"])
    assert list(frame.columns) == ["model", "reason"]
    assert len(frame) == 0


def test_a_spreadsheet_s_byte_order_mark_and_blank_lines_are_skipped(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfname,n\r\na,1\r\n\r\nb,2\r\n")
    frame = read_csv(tmp_path / "t.csv", ["name"])
    assert frame.to_dict("list") == {"name": ["a", "b"], "n": [1, 2]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('name,kwargs\na,{"x": 1}\n', None),
        ('name,kwargs\na,{"x": 1, "y": 2}\n', r"row 2 \(a,.*\) has 3 cells, the header has 2.* written in quotes"),
        ("name,kwargs\na,\nb\n", r"row 3 \(b\) has 1 cells, the header has 2"),
        ("name,name\na,b\n", "the header names column name twice"),
        ("", "is empty; it needs at least a header"),
        (b"name\n\xff\n", r"line 2 is not UTF-8 \(byte 0xff at place 1\)"),
        ('name\n"a\n', "row 2 opens a quote that is never closed"),
    ],
)
def test_a_damaged_table_is_refused_by_row(tmp_path, content, told):
    path = tmp_path / "roster.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if told is None:
        assert list(read_csv(path)["kwargs"]) == ['{"x": 1}']
        return
    with pytest.raises(InputError, match=rf"roster\.csv.* {told}"):
        read_csv(path)


def test_missing_columns_are_named_beside_those_that_are_there(tmp_path):
    write_csv(tmp_path / "t.csv", pd.DataFrame({"model": ["a"], "unit": [1]}))
    with pytest.raises(InputError, match=r"t\.csv: column layer, width is missing; it has model, unit"):
        read_csv(tmp_path / "t.csv", ["model", "layer", "width"])
    write_parquet(tmp_path / "t.parquet", pd.DataFrame({"model": ["a"], "unit": [1]}))
    with pytest.raises(InputError, match=r"t\.parquet: column layer is missing; it has model, unit"):
        read_parquet(tmp_path / "t.parquet", ["layer"])


def test_a_folder_is_told_from_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="is a folder, not a table"):
        read_csv(tmp_path)


@pytest.mark.parametrize("read", [read_csv, read_json, read_parquet])
def test_a_missing_file_is_named_with_what_makes_it(tmp_path, read):
    with pytest.raises(InputError, match=r"lost: no such file\. .*`dvc repro`"):
        read(tmp_path / "lost")


# --------------------------------------------------------------------------- Parquet, JSON and digests


def test_parquet_keeps_types_and_reads_only_the_named_columns(tmp_path):
    frame = pd.DataFrame(
        {"image": np.arange(3, dtype=np.int32), "path": ["a", "0.10", "ü\n"], "list": [[1.0], [], [2.0]]}
    )
    write_parquet(tmp_path / "t.parquet", frame)
    back = read_parquet(tmp_path / "t.parquet")
    assert back["image"].dtype == np.int32
    assert list(back["path"]) == ["a", "0.10", "ü\n"]
    assert list(read_parquet(tmp_path / "t.parquet", ["path"]).columns) == ["path"]


def test_a_column_of_lists_is_a_matrix_also_without_rows():
    assert list_column(pd.Series([[1.0, 2.0], [3.0, 4.0]]), 2).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert list_column(pd.Series([], dtype=object), 2).shape == (0, 2)


def test_json_is_sorted_short_and_plain(tmp_path):
    write_json(tmp_path / "t.json", {"b": np.float32(1 / 3), "a": np.int64(2), "c": {"y": (1, np.True_), "x": None}})
    written = (tmp_path / "t.json").read_text()
    assert written.replace("\n", "").replace(" ", "") == '{"a":2,"b":0.333333,"c":{"x":null,"y":[1,true]}}'
    assert written.endswith("}\n")
    assert read_json(tmp_path / "t.json")["b"] == 0.333333


@pytest.mark.parametrize("value", [float("nan"), np.float32("inf"), [1.0, -np.inf], {"deep": np.nan}])
def test_json_refuses_what_it_cannot_say(tmp_path, value):
    with pytest.raises(ValueError, match="no place in JSON"):
        write_json(tmp_path / "t.json", {"value": value})
    assert listing(tmp_path) == []


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "t").write_bytes(b"abc")  # the first test vector of FIPS 180-2
    assert sha256_file(tmp_path / "t") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
