"""Units with scores of both kinds: which enter a comparison of similarities, and which stand under one alone."""

import pandas as pd
import pytest

from interpretability.errors import InputError
from interpretability.people.annotated import unscored, with_people
from interpretability.schema import KEY

NATURAL = [("net", "conv", unit, "natural") for unit in range(3)]
SYNTHETIC = [("net", "conv", unit, "synthetic") for unit in range(2)]


def scores(**units_of_backend):
    parts = [pd.DataFrame(units, columns=KEY).assign(backend=name, mis=0.8) for name, units in units_of_backend.items()]
    return pd.concat(parts, ignore_index=True)


def people(units):
    return pd.DataFrame(units, columns=KEY).assign(n_responses=10, his=0.7)


def rows(table):
    return list(table[[*KEY, "backend"]].itertuples(index=False, name=None))


def test_a_condition_that_one_similarity_does_not_score_enters_no_comparison():
    known = scores(encoder=NATURAL + SYNTHETIC, oracle=NATURAL)
    found = with_people(known, people(NATURAL + SYNTHETIC), ("encoder", "oracle"))
    assert rows(found) == [(*unit, backend) for unit in NATURAL for backend in ("encoder", "oracle")]
    alone = with_people(known, people(NATURAL + SYNTHETIC), ("encoder",))
    assert rows(alone) == [(*unit, "encoder") for unit in NATURAL + SYNTHETIC]


def test_anywhere_a_unit_has_a_row_for_each_similarity_that_scored_it():
    known = scores(encoder=NATURAL + SYNTHETIC, oracle=NATURAL)
    found = with_people(known, people(NATURAL + SYNTHETIC), ("encoder", "oracle"), anywhere=True)
    both = [(*unit, backend) for unit in NATURAL for backend in ("encoder", "oracle")]
    assert rows(found) == both + [(*unit, "encoder") for unit in SYNTHETIC]
    every = with_people(known, people(NATURAL), ("encoder", "oracle"), anywhere=True)
    pd.testing.assert_frame_equal(every, with_people(known, people(NATURAL), ("encoder", "oracle")))


def test_a_unit_that_one_similarity_lacks_is_still_an_error():
    known = scores(encoder=NATURAL, oracle=NATURAL[:2])
    with pytest.raises(InputError, match=r"1 units with human answers have no score; the first one: .*unit 2"):
        with_people(known, people(NATURAL), ("encoder", "oracle"))


def test_units_that_nothing_scores_are_said():
    known = scores(encoder=NATURAL)
    assert unscored(known, people(NATURAL)) == ""
    assert "2 of 5 units with human answers have no score and are left out: net synthetic 2" in unscored(
        known, people(NATURAL + SYNTHETIC)
    )
