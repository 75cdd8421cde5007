"""Cells of text as ids, whole numbers, numbers and truth; every refusal names rows, value and what is allowed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interpretability.errors import InputError
from study.files import casts

SAME = [
    ("1", "1", "1.0", "1.", "1.000", " 1 ", "+1", "1e+00"),
    ("0", "0", "0.0", "-0", "-0.0"),
    ("12345678901234567", "12345678901234567", "12345678901234567.0"),
    ("10000000000000000", "10000000000000000", "1e+16", "1E+16"),
    ("-5", "-5", "-5.0"),
]
APART = [
    "01",
    "1",
    "001",
    "007",
    "7",
    "1.5",
    "1,0",
    "1e3",
    "12e5",
    "0x1",
    "1_0",
    "١",
    "one",
    "",
    "True",
    "nan",
    "1.0.0",
    "5e",
]


@pytest.mark.parametrize("spellings", SAME)
def test_spellings_of_one_id_are_one_id(spellings):
    wanted, *others = spellings
    assert {casts.id_of(text) for text in others} == {wanted}


def test_other_ids_stay_apart_and_as_they_are():
    assert [casts.id_of(text) for text in APART] == APART


def test_an_id_does_not_depend_on_the_ids_beside_it():
    for other in ("5000", "name", "01", "1e30", ""):
        found = casts.ids("t.csv", pd.Series(["1", "1.0", other], dtype="str"), "task").tolist()
        assert found[0] == found[1] == "1"
        assert found[2] == casts.id_of(other) != "1"


def column(*cells):
    """Cells of a table with blank rows before and between them: rows 3, 5, 7, ..."""
    return pd.Series(list(cells), index=range(1, 2 * len(cells), 2), dtype="str")


WHOLE = casts.whole
CASES = {
    "whole numbers": (WHOLE, {}, ["0", "3.0", "1e3", " 7 ", "007", "2147483647"], [0, 3, 1000, 7, 7, 2**31 - 1]),
    "or empty": (WHOLE, {"empty": True}, ["1", "", " "], [1, pd.NA, pd.NA]),
    "small bounds": (WHOLE, {"least": -1, "most": 3}, ["-1", "3", "-1.0"], [-1, 3, -1]),
    "large bounds": (WHOLE, {"most": 2**63 - 1}, [str(2**63 - 1)], [2**63 - 1]),
    "numbers": (casts.numbers, {}, ["0.5", "-3", ".5", "1e-3", "2."], [0.5, -3, 0.5, 0.001, 2]),
    "truth": (casts.truth, {}, ["True", "FALSE", "1", "0", "1.0", " 0.0"], [True, False, True, False, True, False]),
    "no cells": (WHOLE, {}, [], []),
}


@pytest.mark.parametrize("case", CASES)
def test_cells_are_what_they_say(case):
    cast, options, cells, wanted = CASES[case]
    found = cast("t.csv", column(*cells), "n", **options)
    assert found.tolist() == wanted
    assert found.index.tolist() == column(*cells).index.tolist()


WRONG = {
    "beyond 32 bits": (
        WHOLE,
        ["1", "2147483648"],
        "row 5: n is '2147483648', it must be a whole number from 0 to 2,147,483,647",
    ),
    "beyond 64 bits": (WHOLE, ["1e30"], "row 3: n is '1e30', it must be a whole number"),
    "far beyond": (WHOLE, ["1", "1e999"], "row 5: n is '1e999'"),
    "many digits": (WHOLE, ["9" * 5000], "row 3: n is '9{80}...', it must be"),
    "half": (WHOLE, ["1.5"], "row 3: n is '1.5'"),
    "below": (WHOLE, ["-1"], "row 3: n is '-1'"),
    "empty": (WHOLE, [""], "row 3: n is '', it must be"),
    "a decimal comma": (
        WHOLE,
        ["3,0"],
        "n is '3,0', it must be a whole number from 0 to 2,147,483,647; a number has a point, no comma",
    ),
    "not a number": (WHOLE, ["nan"], "n is 'nan'"),
    "other digits": (WHOLE, ["٣"], "n is '٣'"),
    "underscores": (WHOLE, ["1_000"], "n is '1_000'"),
    "infinite": (casts.numbers, ["1", "inf"], "row 5: n is 'inf', it must be a finite number or empty"),
    "infinite by size": (casts.numbers, ["1e999"], "row 3: n is '1e999', it must be a finite number"),
    "a word": (casts.truth, ["1", "yes", "no", "0"], "2 rows: 5, 7: n is 'yes', it must be True, False, 1 or 0"),
    "many rows": (casts.truth, ["?"] * 7, r"7 rows: 3, 5, 7, 9, 11, \.\.\.: n is '\?'"),
    "no value of a spreadsheet": (casts.ids, ["p", "#N/A", "#REF!"], "2 rows: 5, 7: n is '#N/A', it must be an id"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_cell_that_is_something_else_is_refused_by_its_row(case):
    cast, cells, told = WRONG[case]
    with pytest.raises(InputError, match=f"^t.csv: .*{told}"):
        cast("t.csv", column(*cells), "n")


def test_ids_that_a_spreadsheet_shortened_are_warned_of_by_row(monkeypatch):
    heard = []
    monkeypatch.setattr(casts.log, "warning", lambda text, *values: heard.append(text % values))
    casts.ids("t.csv", column("123456789012", "1e+16", "12E5", "E+11"), "n")
    assert heard == []
    casts.ids("t.csv", column("a", "1.23457E+11", "2E+12"), "n")
    assert len(heard) == 1
    assert heard[0].startswith("t.csv: row 5: n 1.23457E+11 looks like a long number that a spreadsheet shortened")


def test_types_are_those_of_the_tables():
    assert WHOLE("t.csv", column("1"), "n").dtype == np.int64
    assert WHOLE("t.csv", column("1", ""), "n", empty=True).dtype == "Int64"
    assert casts.truth("t.csv", column("1"), "n").dtype == bool
