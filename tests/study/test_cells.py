"""Tables, lists and JSON of other programs: read where they are certain, else refused by the row that a spreadsheet shows."""

from __future__ import annotations

import codecs
import gzip
import io
import zipfile

import pandas as pd
import pytest

from interpretability.errors import InputError
from study.files import texts
from study.files.tables import read_csv, read_json, rows_shown, write_csv, write_json
from study.networks import unit_lists
from study.networks.imi_naming import read_names
from study.networks.roster import read_roster

PLAIN = "name,n,note\na,1,x\nb,2,\n"
WIDE = "name;n;note\na;1;x\nb;2;\n"
FOREIGN = {
    "as we write it": PLAIN.encode(),
    "a byte order mark": codecs.BOM_UTF8 + PLAIN.encode(),
    "two of them": codecs.BOM_UTF8 * 2 + PLAIN.encode(),
    "Windows line ends": PLAIN.replace("\n", "\r\n").encode(),
    "old line ends": PLAIN.replace("\n", "\r").encode(),
    "no line end at the end": PLAIN.rstrip("\n").encode(),
    "all in quotes": ('"' + PLAIN.replace(",", '","').replace("\n", '"\n"')).removesuffix('"').encode(),
    "a blank behind each separator, and quotes": b'"name", "n", "note"\n"a", "1", "x"\n"b", "2", ""\n',
    "blanks around names": b" name ,n,\tnote\na,1,x\nb,2,\n",
    "columns without a name": b"name,n,note,,\na,1,x,,\nb,2,,,\n",
    "semicolons": WIDE.encode(),
    "tabs": WIDE.replace(";", "\t").encode(),
    "bars": WIDE.replace(";", "|").encode(),
    "semicolons, said in a first line": b"sep=;\r\n" + WIDE.encode(),
    "tabs, said in a first line": b"sep=\t\n" + WIDE.replace(";", "\t").encode(),
    "commas, said in a first line": b'"sep=,"\n' + PLAIN.encode(),
    "semicolons beside a comma in a name that is not read": (WIDE.replace("note", "note, if any")).encode(),
    "UTF-16 with mark": PLAIN.encode("utf-16"),
    "UTF-16 of a big machine": codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
    "UTF-16 without mark": PLAIN.encode("utf-16-le"),
    "UTF-16 of a big machine, without mark": PLAIN.encode("utf-16-be"),
    "UTF-16 with tabs, Unicode text of a spreadsheet": WIDE.replace(";", "\t").encode("utf-16"),
    "UTF-32": PLAIN.encode("utf-32"),
}


@pytest.fixture
def heard(monkeypatch):
    texts.say.cache_clear()
    lines = []
    monkeypatch.setattr(texts.log, "info", lambda text, *values: lines.append(text % values))
    return lines


def given(folder, content, name="t.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("form", FOREIGN)
def test_one_table_in_every_form_is_the_same_table(tmp_path, form):
    found = read_csv(given(tmp_path, FOREIGN[form]), ["name", "n"], text=["name"])
    assert found[["name", "n"]].to_dict("list") == {"name": ["a", "b"], "n": [1, 2]}
    assert rows_shown(found).tolist() == [2, 3]
    assert found.iloc[:, 2].tolist() == ["x", ""]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (WIDE.encode(), "t.csv: cells are separated by semicolons"),
        (PLAIN.encode("utf-16"), "t.csv: read as UTF-16"),
        (b"name,n,n\na,1,2\n", "t.csv: column n stands there twice and is not read"),
        (b"name,,\na,1,2\n", "t.csv: 2 columns without a name are not read"),
    ],
)
def test_what_was_found_out_is_said_once(tmp_path, heard, content, said):
    for _ in range(3):
        read_csv(given(tmp_path, content), ["name"])
    assert heard == [f"{tmp_path}/{said}"]


def test_nothing_is_said_of_a_table_of_our_own(tmp_path, heard):
    write_csv(tmp_path / "t.csv", pd.DataFrame({"a": [1], "b": ["x; y|z"]}))
    read_csv(tmp_path / "t.csv")
    assert heard == []


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("a,b\n1,2\n3,4\n", [2, 3]),
        ("a,b\n\n1,2\n\n\n3,4\n", [3, 6]),
        ("a,b\n1,2\n,\n , \n3,4\n", [2, 5]),
        ("\n\na,b\n1,2\n", [4]),
        ('a,b\n1,"two\nlines"\n3,4\n', [2, 3]),
        ('a,b\n1,"two\n\nlines"\n\n3,4\n', [2, 4]),
        ("sep=,\na,b\n1,2\n", [2]),  # a spreadsheet takes that line and does not show it
        ("a,b\r\n1,2\r\n\r\n3,4\r\n", [2, 4]),
        ('a\n1\n""\n3\n', [2, 3, 4]),  # of a single column an empty cell is a cell
        ("a,b\n1,2,\n", None),
    ],
)
def test_rows_are_numbered_as_a_spreadsheet_shows_them(tmp_path, content, rows):
    path = given(tmp_path, content)
    if rows is None:
        with pytest.raises(InputError, match=r"row 2 .* has 3 cells, the header has 2"):
            read_csv(path)
        return
    found = read_csv(path)
    assert rows_shown(found).tolist() == rows
    assert rows_shown(found[::-1]).tolist() == rows[::-1]
    assert rows_shown(found.iloc[-1:, 0]).tolist() == rows[-1:]


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return file.getvalue()


WRONG = {
    "empty": (b"", "is empty; it needs at least a header"),
    "blank": (b"\n\n,,\n", "is empty; it needs at least a header"),
    "JSON": (b'{"name": 1}', "is JSON, not CSV: save it as CSV UTF-8"),
    "JSON, a list": (b'[\n {"name": 1}]', "is JSON, not CSV"),
    "lines of JSON": (b'{"name": 1}\n{"name": 2}\n', "is JSON, not CSV"),
    "Excel": (zipped(), r"is an Excel file \(\.xlsx\).* save it as CSV UTF-8"),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"is an Excel file \(\.xls\)"),
    "packed": (gzip.compress(PLAIN.encode()), "is packed by gzip, not CSV: unpack it"),
    "Parquet": (b"PAR1....PAR1", "is a Parquet file, not CSV"),
    "a web page": (b"\n<!DOCTYPE html><html>", "is a web page .*: download the file itself"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS.*`git lfs pull`"),
    "Latin letters": (b"name,n\na,1\nJos\xe9,2\n", r"line 3 is not UTF-8 \(byte 0xe9 at place 4, behind 'Jos'\)"),
    "Latin letters, old lines": (b"name,n\ra,1\r\xe9,2\r", r"line 3 is not UTF-8 \(byte 0xe9 at place 1\)"),
    "half of UTF-16": (PLAIN.encode("utf-16")[:-1], "begins as UTF-16, but byte .* cut off"),
    "a NUL": (b"name,n\na,1\nb,\0\n", "line 3 holds a NUL character"),
    "a NUL in UTF-16": ("name,n\nb,\0\n".encode("utf-16"), "line 2 holds a NUL character"),
    "an open quote": (b'name,n\na,1\n"b,2\nc,3\n', "row 3 opens a quote that is never closed"),
    "an open quote behind a blank row": (b'name,n\n\na,1\n"b,2\n', "row 4 opens a quote"),
    "a quote in quotes": (b'name,n\na,1\n"b"c",2\n', "row 3 has a cell in quotes that goes on.*are doubled"),
    "a cell without end": (
        b"name,n\na," + b"x" * ((1 << 24) + 1),
        r"row 2 has a cell of more than 16,777,216 characters",
    ),
    "a short row": (b"name,n\na,1\nb\nc,3\n", r"row 3 \(b\) has 1 cells, the header has 2"),
    "cut off": (b"name,n\na,1\nb", r"row 3 \(b\) has 1 cells, .*the last one: is the file cut off\?"),
    "a long row": (b"name;n\na;1;2\n", r"row 2 \(a;1;2\) has 3 cells, the header has 2\. A cell with a semicolon"),
    "another separator": (b"name:n\na:1,5\n", "Only commas, semicolons, tabs, bars separate cells"),
    "another separator, said": (b"sep=:\nname:n\na:1\n", "says sep=:, a separator that is not read; use one of commas"),
    "the same name twice": (b"name,n,name\na,1,b\n", "the header names column name twice; remove or rename"),
    "the same name but for blanks": (b"name,n, name\na,1,b\n", "the header names column name twice"),
    "capitals": (b"Name,n\na,1\n", "column name is missing; it has Name, n.*rename 'Name' to name"),
    "a near name": (b"names,n\na,1\n", "rename 'names' to name"),
    "a comma in a number": (b"name;n\na;1\nb;0,5\n", "row 3: n is '0,5'; a number has a point, no comma"),
    "thousands": (b"name\tn\na\t1,234\nb\t-5,678\n", "row 2: n is '1,234'"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_not_certain_is_refused_by_its_place(tmp_path, fault):
    content, told = WRONG[fault]
    with pytest.raises(InputError, match=rf"(?s)^{tmp_path}/t\.csv.*{told}"):
        read_csv(given(tmp_path, content), ["name"], text=["name"])


def test_commas_in_text_are_text_and_columns_of_it_are_left_alone(tmp_path):
    found = read_csv(given(tmp_path, "name;n;pair\n1,5;2;1,5\nb;3;no\n"), ["name"], text=["name"])
    assert found.to_dict("list") == {"name": ["1,5", "b"], "n": [2, 3], "pair": ["1,5", "no"]}


def test_a_column_that_is_not_read_may_stand_twice(tmp_path):
    path = given(tmp_path, "name,n,n\na,1,2\n")
    assert list(read_csv(path, ["name"]).columns) == ["name"]
    with pytest.raises(InputError, match="names column n twice"):
        read_csv(path, ["name", "n"])
    with pytest.raises(InputError, match="names column n twice"):
        read_csv(path)


def test_a_long_cell_is_read(tmp_path):
    long = "x" * 200_000
    assert read_csv(given(tmp_path, f"a,b\n1,{long}\n"))["b"].tolist() == [long]


# --------------------------------------------------------------------------- who reads them


def test_a_roster_of_a_spreadsheet_is_read_and_refused_by_its_rows(tmp_path):
    header, rows = "name;constructor;weights;role", ["a;resnet18;none;study", ";;;", "b;resnet18;none;{}"]
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path = given(tmp_path, "\n".join([header, *rows]).format("study").encode(encoding), "roster.csv")
        found = read_roster(path)
        assert found["name"].tolist() == ["a", "b"]
        assert found.index.tolist() == [0, 1]
    path.write_text("\n".join([header, *rows]).format("Study"))
    with pytest.raises(InputError, match=r"row 4 \(b\): role is 'Study'"):
        read_roster(path)
    path.write_text("\n".join([header, *rows, "a;resnet18;none;study"]).format("study"))
    with pytest.raises(InputError, match=r"name 'a' stands in rows 2, 5"):
        read_roster(path)


def test_names_of_networks_are_refused_by_their_rows(tmp_path):
    path = given(tmp_path, "imi;name\nx;a\n;\ny;b\n", "names.csv")
    assert read_names(path) == {"x": "a", "y": "b"}
    with pytest.raises(InputError, match="x stands in rows 2, 5"):
        read_names(given(tmp_path, "imi;name\nx;a\n;\ny;b\nx;c\n", "names.csv"))
    with pytest.raises(InputError, match="row 3: imi is '', it must be filled"):
        read_names(given(tmp_path, "imi,name\nx,a\n,b\n", "names.csv"))


def test_lists_of_units_are_read_as_written_whatever_wrote_them(tmp_path):
    units = [("net", "a/b", 3), ("net", "layer.1", 0), ("other", "x", 2**31 - 1)]
    path = tmp_path / "units.txt"
    assert unit_lists.write_list(path, units) == 3
    plain = path.read_bytes()
    for content in (plain, plain.replace(b"\n", b"\r\n"), codecs.BOM_UTF8 + plain, plain.decode().encode("utf-16")):
        path.write_bytes(b"" + content)
        assert unit_lists.read_list(path) == units


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("net/layer", "'net/layer'"),
        ("net/layer/x", "'net/layer/x'"),
        ("net//3", "'net//3'"),
        ("net/layer/-1", "'net/layer/-1'"),
        ("net/layer/2147483648", "'net/layer/2147483648'"),
        ("net/layer/" + "9" * 5000, r"'net/layer/9+'"),
        ("net/layer/٣", "'net/layer/٣'"),
    ],
)
def test_a_broken_line_of_a_list_is_named(tmp_path, line, shown):
    path = given(tmp_path, f"# units\n\nnet/layer/0\n{line}\n", "units.txt")
    with pytest.raises(
        InputError, match=rf"units\.txt: line 4 is {shown}, it must read model/layer/unit.* 2,147,483,647"
    ):
        unit_lists.read_list(path)


# --------------------------------------------------------------------------- JSON


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_is_read_in_every_certain_encoding(tmp_path, encoding):
    assert read_json(given(tmp_path, '{"a": "ü", "b": [1, 2.5]}'.encode(encoding))) == {"a": "ü", "b": [1, 2.5]}


def test_json_of_our_own_is_read_back(tmp_path):
    write_json(tmp_path / "t.json", {"a": {"b": [1, 0.5, None, True]}})
    assert read_json(tmp_path / "t.json") == {"a": {"b": [1, 0.5, None, True]}}
    assert read_json(given(tmp_path, '{"a": "\\ud83d\\ude00"}')) == {"a": "😀"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"a": 1, "a": 2}', "the outermost object names 'a' twice"),
        ('{"a": {"b": [0, {"c": 1, "d": 2, "c": 3}]}}', "a, b, 1 names 'c' twice"),
        ('{"a": {"b": 1, "b": 2}, "a": 3}', "the outermost object names 'a' twice"),
        ('{"a": NaN}', "holds the number NaN"),
        ('{"a": -Infinity}', "holds the number -Infinity"),
        ('{"a": 1e999}', "holds the number 1e999"),
        ('{"a": ' + "1" * 5000 + "}", "a number of too many digits"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1', r"is no JSON: line 1, column 8: .*cut off"),
        ('{\n"a": "\\ud800"}', "'a' holds half a character"),
        ('{\n"\\ud800": 1}', "holds half a character"),
        (b'{"a": "\xe9"}', r"line 1 is not UTF-8 \(byte 0xe9"),
        (b'{"a": "\0"}', "line 1 holds a NUL character, so it is no JSON"),
        (zipped(), "zip archive, not JSON"),
        ("", "is no JSON: line 1, column 1"),
    ],
)
def test_json_that_does_not_say_one_thing_is_refused_by_its_place(tmp_path, content, told):
    with pytest.raises(InputError, match=rf"(?s)t\.csv.*{told}"):
        read_json(given(tmp_path, content))
