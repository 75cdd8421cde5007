"""Texts of units, formulas, presence, guide and gold of other people: valid ones in every form, damaged, and any bytes."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from interpretability.explanations import formulas
from interpretability.synthetic import predicates
from interpretability.synthetic.draws import draw_factors
from study.explanations.images import Probing
from study.explanations.readers import LABEL, PROBABILITY, read_said, row_of
from study.inputs.explained import TEXT_COLUMNS, read_explained
from tests.fuzz.test_tables import CELLS, DAMAGE, ENCODINGS, damaged
from tests.helpers.fuzzing import attempt, fuzzed

ROWS = [
    {"name": "net", "role": "study", "constructor": "resnet18", "weights": "trained"},
    {"name": "controls", "role": "control", "constructor": "control:planted", "weights": "none"},
]
LINEAR = '[{"weight": 2, "text": "dog"}, {"intercept": 1}]'
LOGIC = '{"and": ["dog", {"not": {"or": ["cat", "grass"]}}]}'
CLUSTERED = '[{"low": 0, "high": 2.5, "formula": {"or": ["dog", "cat"]}}]'
TEXTS = pd.DataFrame(
    {
        "model": ["net", "net", "net-step2", "controls"],
        "layer": ["a/b", "0.10", "Ü", "factor"],
        "unit": ["0", "1.0", "2", "7"],
        "method": ["MILAN", "LE", "INVERT", "CCE"],
        "kind": ["", "linear", "compositional", "Clustered"],
        "text": ["a  dog", "", "words", ""],
        "formula": ["", LINEAR, LOGIC, CLUSTERED],
        "source": ["", "x", "y", "z"],
    }
)
PATHS = ["x/0.png", "x/1.png", "2", "y/3.png"]
SAID = pd.DataFrame(
    {
        "text": ["a dog", "a dog", "cat", "a  dog", "cat"],
        "image": ["0", "x/1.png", "0", "2", "3"],
        "probability": ["0", "1", "0.5", "1e-3", ".25"],
    }
)
PHRASES = st.text(max_size=8) | st.sampled_from(["dog", " ", "", "a\u200bb", "e\u0301", "=1+1", "<b>", "x" * 2000])
LEAVES = PHRASES | st.none() | st.booleans() | st.integers() | st.floats()
KEYS = st.sampled_from(["and", "or", "not", "weight", "text", "low", "high", "formula", "intercept"]) | st.text(
    max_size=3
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("texts")


@pytest.fixture(scope="module")
def factors():
    return draw_factors(50, seed=0, stream="fuzz", n_categories=4)


@st.composite
def changed(draw, table, damage=True):
    """A table with other cells, other columns, in another order, and as another program writes it."""
    table = table.copy()
    for place, name, cell in draw(
        st.just([])
        | st.lists(
            st.tuples(
                st.integers(0, len(table) - 1), st.sampled_from(list(table.columns)), CELLS | PHRASES | JSON.map(dumped)
            ),
            max_size=2,
        )
    ):
        table.loc[place, name] = cell
    names = list(table.columns)
    for place, name in draw(
        st.just([]) | st.lists(st.tuples(st.integers(0, len(names) - 1), st.text(max_size=4)), max_size=1)
    ):
        names[place] = name
    table = table.set_axis(names, axis=1).iloc[:, draw(st.permutations(range(len(names))))]
    ends = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = table.to_csv(index=False, sep=draw(st.sampled_from(",,,;\t")), lineterminator=ends)
    return damaged(text.encode(draw(ENCODINGS), "replace"), draw(DAMAGE) if damage else [])


def dumped(content):
    return json.dumps(content)


@fuzzed(changed(TEXTS))
def test_texts_of_units(folder, content):
    (folder / "texts.csv").write_bytes(content)
    found = attempt("texts of units", lambda: read_explained(folder, "", ROWS, "roster.csv"))
    if found is not None:
        texts = found.texts
        assert list(texts.columns) == TEXT_COLUMNS
        assert texts["unit"].between(0, 2**31 - 1).all()
        assert not texts.duplicated(["model", "layer", "unit", "method"]).any()
        assert (texts["text"] != "").all()
        for row in texts.itertuples():
            parsed = formulas.parse(row.kind, row.text, row.formula)
            assert all(concept == " ".join(concept.split()) for concept in formulas.concepts(parsed))


@fuzzed(
    JSON.map(dumped)
    | st.text(max_size=40)
    | st.integers(1, 5000).map(lambda depth: '{"not": ' * depth + '"a"' + "}" * depth)
)
def test_formulas(text):
    for kind in formulas.KINDS[1:]:
        parsed = attempt(f"formula, {kind}", lambda kind=kind: formulas.parse(kind, "", text))
        if parsed is None:
            continue
        named = formulas.concepts(parsed)
        assert named
        assert formulas.describe(parsed)
        shown = {concept: np.linspace(0, 1, 7) for concept in named}
        predicted = formulas.predict(parsed, shown)
        assert predicted.shape == (7,)
        if kind == formulas.COMPOSITIONAL:
            assert ((predicted >= 0) & (predicted <= 1)).all()


@fuzzed(changed(SAID), st.sampled_from([PROBABILITY, LABEL]))
def test_presence_guide_and_gold(folder, content, column):
    place = folder / "said"
    place.mkdir(exist_ok=True)
    (place / "a.csv").write_bytes(content if column == PROBABILITY else content.replace(b"probability", b"label"))
    said = attempt(f"table of texts and images, {column}", lambda: read_said(place, column, PATHS))
    if said is not None:
        assert ((said.value >= 0) & (said.value <= 1)).all()
        assert ((said.image >= 0) & (said.image < 4)).all()
        assert (np.diff(said.text * 4 + said.image) > 0).all()
        probing = Probing(np.arange(4, dtype=np.int32), np.ones(4, dtype=bool))
        for text in said.texts:
            row = attempt("row of a concept", lambda text=text: row_of(said, text, probing, "key"))
            assert row is None or ((row >= 0) & (row <= 1)).all()


@st.composite
def parquets(draw):
    """The same as Parquet with columns of other types, and bytes of it damaged."""
    table = SAID.copy()
    kind = {"image": draw(st.sampled_from(["int64", "uint8", "float64", "str"]))}
    table["image"] = draw(st.lists(st.integers(0, 5), min_size=5, max_size=5))
    table["probability"] = draw(st.lists(st.floats() | st.sampled_from([0.0, 0.5, 1.0]), min_size=5, max_size=5))
    table["text"] = draw(st.lists(PHRASES | st.sampled_from(["dog"] * 3), min_size=5, max_size=5))
    file = io.BytesIO()
    try:
        table.astype(kind).to_parquet(file, index=False)
    except (ValueError, UnicodeEncodeError):  # text that no file can hold
        return b"PAR1"
    return damaged(file.getvalue(), draw(st.just([]) | DAMAGE))


@fuzzed(parquets())
def test_presence_as_parquet(folder, content):
    place = folder / "parquet"
    place.mkdir(exist_ok=True)
    (place / "a.parquet").write_bytes(content)
    said = attempt("table of texts and images, Parquet", lambda: read_said(place, PROBABILITY, PATHS))
    if said is not None:
        assert ((said.value >= 0) & (said.value <= 1)).all()
        assert len(said.texts) == len(set(said.texts))


WORDS = st.sampled_from(["a star", "red shapes", "no object", "not", "and", "or", "a", " "]) | st.text(max_size=4)


@fuzzed(st.lists(WORDS, max_size=7).map(" ".join))
def test_predicates(factors, text):
    shown = attempt("predicate over factors", lambda: predicates.presence(text, factors))
    assert shown is None or (shown.shape == (50,) and shown.dtype == bool)


ANY = st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))


@fuzzed(ANY, st.sampled_from(["texts.csv", "superclasses.csv", "words.txt"]), st.sampled_from(["a.csv", "a.parquet"]))
def test_any_bytes(folder, content, name, table):
    place, only = folder / "any", folder / "tables"
    for part in (place, only):
        part.mkdir(exist_ok=True)
    (place / name).write_bytes(content)
    listed = name if name == "words.txt" else ""
    attempt(f"{name}, any bytes", lambda: read_explained(place, listed, ROWS, "roster.csv"))
    (place / name).unlink()
    (only / table).write_bytes(content)
    attempt(f"presence, {table[2:]}, any bytes", lambda: read_said(only, PROBABILITY, PATHS))
    (only / table).unlink()
