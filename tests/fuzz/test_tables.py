"""Tables, lists and JSON of other people: valid ones in every form, damaged, and any bytes."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import strategies as st

from study.files.tables import read_csv, read_json, read_parquet
from study.networks.imi_naming import read_names
from study.networks.roster import read_roster
from study.networks.unit_lists import read_list
from study.people.answers_from_imi import read_responses
from study.people.answers_from_table import FIELDS, read_answers
from study.people.imi_tasks import read_image_map, read_imi_tasks
from tests.helpers import imi_folder
from tests.helpers.fuzzing import attempt, fuzzed

ANSWERS = pd.DataFrame(
    {
        "model": "net",
        "layer": ["0.1", "a/b", "c__1", "Ü"],
        "unit": ["0", "1.0", "2", "7"],
        "condition": "natural",
        "participant": ["007", "7", "p, q", 'with "quotes"'],
        "correct": ["1", "True", "FALSE", "0.0"],
        "task": ["1", "1.0", "", "x"],
        "confidence": ["1", "2.0", "", "3"],
        "source": ["simulated", "simulated", " simulated", "simulated"],
        "note": ["two\nlines", "", "a;b", "a\tb"],
    }
)
ROSTER = Path("data/external/models/custom.csv").read_bytes()
NAMES = Path("data/external/models/imi_names.csv").read_bytes()
LIST = b"# units\nnet/layer1.0/3\nnet/a/b/0\n\nother/Layer/12\n"
RECORD = imi_folder.experiment("resnet50_natural", "resnet50", seed=1).head(40).to_csv(index=False).encode()
MAP = {
    model: {
        f"layer1/channel_{unit}": {
            f"batch_{task}": {f"{side}_{k}.png": f"n01/{k}.JPEG" for side in ("min", "max") for k in range(10)}
            for task in range(2)
        }
        for unit in range(2)
    }
    for model in ("net", "net_hard85")
}
CELLS = st.sampled_from(
    [
        "",
        "1",
        "1.0",
        "01",
        "-1",
        "1e30",
        "1e999",
        "9" * 5000,
        "nan",
        "inf",
        "0,5",
        "#N/A",
        "True",
        "x",
        "a\nb",
        '"',
        "=1+1",
        "\0",
    ]
) | st.text(max_size=8)
NAMED = st.sampled_from([*ANSWERS.columns, "unit_name", "name", " unit", "Unit", ""])
ENCODINGS = st.sampled_from(
    ["utf-8"] * 5 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp037"]
)
PATCHES = st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 8), st.binary(max_size=6)), max_size=3)
SIGNS = st.lists(
    st.tuples(
        st.integers(0, 1 << 14),
        st.integers(0, 2),
        st.sampled_from(
            [b'"', b",", b";", b"\t", b"\n", b"\r", b"\r\n\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"{", b",,,,\n"]
        ),
    ),
    max_size=3,
)

DAMAGE = (
    st.just([]) | st.just([]) | PATCHES | SIGNS
)  # half of the files are whole, so that what follows the reading is tried too


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def damaged(content, patches):
    """Content with some bytes at some places put in the place of others."""
    for place, gone, new in patches:
        place %= len(content) + 1
        content = content[:place] + new + content[place + gone :]
    return content


@st.composite
def tables(draw):
    """A table of answers: other cells, other columns, other order, and as another program writes it."""
    table = ANSWERS.copy()
    for place, name, cell in draw(
        st.just([]) | st.lists(st.tuples(st.integers(0, 3), st.sampled_from(list(table.columns)), CELLS), max_size=3)
    ):
        table.loc[place, name] = cell
    renamed = draw(st.lists(st.tuples(st.integers(0, len(table.columns) - 1), NAMED), max_size=2))
    names = list(table.columns)
    for place, name in renamed:
        names[place] = name
    table = table.set_axis(draw(st.sampled_from([names, *[list(table.columns)] * 3])), axis=1).iloc[
        :, draw(st.permutations(range(ANSWERS.shape[1])))
    ]
    ends = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\r\n"]))
    text = table.to_csv(index=draw(st.booleans()), sep=draw(st.sampled_from(",,,;;\t|:")), lineterminator=ends)
    text = draw(st.sampled_from([*[""] * 6, "\n", "sep=;\n", "sep=,\n"])) + text
    return damaged(text.encode(draw(ENCODINGS), "replace"), draw(DAMAGE))


RULES = st.sampled_from(
    [
        ([], [], []),
        (["unit_name=layer+unit"], [], []),
        (["unit_name=note"], ["condition=natural"], ["natural=synthetic"]),
        (["participant=note", "task=layer"], ["unit=1|2"], []),
        (["participant"], [], []),
        ([], ["natural"], ["x"]),
    ]
)


@fuzzed(tables(), RULES)
def test_answers_as_csv(folder, content, rules):
    path = folder / "answers.csv"
    path.write_bytes(content)
    found = attempt("table of answers, CSV", lambda: read_answers(path, "net", *rules))
    if found is not None:
        assert found["unit"].between(0, 2**31 - 1).all()
        assert (found["task"] >= -1).all()
        assert found["confidence"].dropna().isin([1, 2, 3]).all()
        assert not found.drop(columns="confidence").isna().any(axis=None)
        assert found["source"].isin(["people", "simulated"]).all()
        assert found["source"].nunique() <= 1


@fuzzed(tables())
def test_any_table(folder, content):
    path = folder / "t.csv"
    path.write_bytes(content)
    attempt("CSV, by name", lambda: read_csv(path, ["unit"], FIELDS))
    attempt("CSV, all columns", lambda: read_csv(path))


@fuzzed(DAMAGE, ENCODINGS, st.sampled_from([b",", b";", b"\t"]))
def test_rosters_and_names(folder, patches, encoding, sign):
    for name, content, read in (("roster", ROSTER, read_roster), ("names of the record", NAMES, read_names)):
        path = folder / "roster.csv"
        text = content.replace(b",", sign).decode("utf-8")
        path.write_bytes(damaged(text.encode(encoding, "replace"), patches))
        attempt(f"{name}, damaged", lambda path=path, read=read: read(path))


MARKS = st.none() | st.sampled_from(["people", "simulated"]) | st.lists(CELLS, min_size=40, max_size=40)


@fuzzed(DAMAGE, st.lists(st.tuples(st.integers(1, 40), st.integers(0, 44), CELLS), max_size=2), MARKS)
def test_the_record(folder, patches, cells, marks):
    rows = pd.read_csv(io.BytesIO(RECORD), dtype=str, keep_default_na=False)
    if marks is not None:
        rows["source"] = marks
    for row, column, cell in cells:
        rows.iloc[row % len(rows), column] = cell
    (folder / "record.csv").write_bytes(damaged(rows.to_csv(index=False).encode("utf-8", "replace"), patches))
    found = attempt("table of the IMI record", lambda: read_responses(folder, ["record.csv"]))
    if found is not None:
        assert set(found["source"]) <= {"people", "simulated"}
        assert found["source"].nunique() == 1


@fuzzed(DAMAGE, ENCODINGS)
def test_lists_of_units(folder, patches, encoding):
    path = folder / "units.txt"
    path.write_bytes(damaged(LIST.decode().encode(encoding), patches))
    for model, layer, unit in attempt("list of units", lambda: read_list(path)) or ():
        assert model
        assert layer
        assert 0 <= unit < 2**31


@st.composite
def parquets(draw):
    """Answers as Parquet, with columns of other types, and bytes of it damaged."""
    kinds = [
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.binary(max_size=4),
        st.text(max_size=4),
        st.dates(),
    ]
    columns = ANSWERS.to_dict("list")
    for name in draw(st.just([]) | st.lists(st.sampled_from(list(columns)), max_size=3)):
        columns[name] = draw(st.lists(st.none() | draw(st.sampled_from(kinds)), min_size=4, max_size=4))
    table = pd.DataFrame(columns)
    if draw(st.booleans()):
        table = table.rename(columns={"note": draw(st.text(max_size=4))})
    file = io.BytesIO()
    try:
        table.to_parquet(file, compression=draw(st.sampled_from(["zstd", "snappy", None])))
    except (ValueError, UnicodeEncodeError):  # text that no file can hold
        return b"PAR1"
    return damaged(file.getvalue(), draw(DAMAGE))


@fuzzed(parquets())
def test_answers_as_parquet(folder, content):
    path = folder / "answers.parquet"
    path.write_bytes(content)
    found = attempt("table of answers, Parquet", lambda: read_answers(path, "net", [], [], []))
    assert found is None or found["unit"].between(0, 2**31 - 1).all()
    attempt("Parquet, all columns", lambda: read_parquet(path))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["batch_1", "x.png"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["net", "layer1/channel_0", "l/channel_99999999999", "batch_0", "batch_-1", "max_0.png", "max_10.png"]
            )
            | st.text(max_size=4),
            inner,
            max_size=3,
        )
    ),
)


@st.composite
def maps(draw):
    """A map of images with some entries changed, as text in some encoding, damaged."""
    content = json.loads(json.dumps(MAP))
    for keys, value in draw(
        st.just([]) | st.lists(st.tuples(st.lists(st.integers(0, 3), max_size=4), JSON), max_size=2)
    ):
        place = content
        for key in keys[:-1]:
            names = list(place)
            inner = place[names[key % len(names)]] if names else None
            place = inner if isinstance(inner, dict) and inner else place
        names = list(place)
        place[names[(keys or [0])[-1] % len(names)]] = value
    text = json.dumps(
        content if draw(st.sampled_from([True] * 5 + [False])) else draw(JSON), ensure_ascii=draw(st.booleans())
    )
    text = draw(st.sampled_from([*[text] * 8, text * 2, "[" * 3000 + text, text.replace('"batch_1"', '"batch_0"', 1)]))
    return damaged(text.encode(draw(ENCODINGS), "replace"), draw(DAMAGE))


@fuzzed(maps())
def test_maps_of_images(folder, content):
    path = folder / "map.json"
    path.write_bytes(content)
    attempt("JSON", lambda: read_json(path))
    if attempt("map of images", lambda: read_image_map(path)) is not None:
        found = attempt("tasks of a map", lambda: read_imi_tasks(path, {"net": "net"}, pd.Series(["n01/0.JPEG"]), 2))
        assert found is not None
        assert "".join(found.table["layer"]).encode() is not None


@fuzzed(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes(folder, content):
    path = folder / "any"
    path.write_bytes(content)
    readers = (read_csv, read_json, read_parquet, read_roster, read_names, read_list, read_image_map)
    for read in readers:
        attempt(f"{read.__name__}, any bytes", lambda read=read: read(path))
    attempt("read_answers, any bytes", lambda: read_answers(path, "", [], [], []))
