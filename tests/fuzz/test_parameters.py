"""params.yaml with any keys and values."""

import copy
from pathlib import Path

import pytest
from hypothesis import strategies as st
from ruamel.yaml import YAML

from study.params.whole import Params, keys, load_params
from tests.helpers.fuzzing import attempt, fuzzed

CONTENT = YAML(typ="safe").load(Path("params.yaml").read_text())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.dates()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("params") / "params.yaml"


@fuzzed(st.lists(st.tuples(st.sampled_from([*keys(Params), "new", "tasks", "seed.new"]), VALUES), max_size=4))
def test_changed_values(path, changes):
    content = copy.deepcopy(CONTENT)
    for key, value in changes:
        place, parts = content, key.split(".")
        for part in parts[:-1]:
            place = place[part] if isinstance(place, dict) and isinstance(place.get(part), dict) else {}
        place[parts[-1]] = value
    with path.open("w") as file:
        YAML(typ="safe").dump(content, file)
    attempt("params.yaml, changed values", lambda: load_params(path))


@fuzzed(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes(path, content):
    path.write_bytes(content)
    attempt("params.yaml, any bytes", lambda: load_params(path))


@fuzzed(st.integers(0, 4000), st.binary(max_size=6))
def test_damaged_bytes(path, place, patch):
    whole = Path("params.yaml").read_bytes()
    path.write_bytes(whole[:place] + patch + whole[place + len(patch) :])
    attempt("params.yaml, damaged bytes", lambda: load_params(path))
