"""The reader of any table of answers, on small tables and on published ones where they lie beside the repository."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interpretability.errors import InputError
from stages import human
from study.files import schemas
from study.files.tables import read_csv, read_parquet, write_parquet
from study.people.answers_from_table import read_answers
from tests.helpers import tiny_study
from tests.helpers.rules import ROOT

REAL = ROOT.parent / "shared" / "realdata" / "tables"
# Borowski et al. 2021, as data/external/human/README.md says it
BOROWSKI = {
    "human__table__model": "inception_v1",
    "human__table__keep": ["trial_type=main", "catch_trial=False", "instr_type=natural|optimized"],
    "human__table__conditions": ["optimized=synthetic"],
}
# file, unit, condition, files that say which feature map is meant
FILES = {
    "I": (
        "experiment_I_main_practice_catch_repeated_trials_preprocessed.csv",
        "layer+kernel_size+channel",
        "instr_type",
        {"": "experiment_I_unit_mapping.csv"},
    ),
    "II": (
        "experiment_II_main_practice_catch_trials_preprocessed.csv",
        "batch_block+layer+kernel_size+channel",
        "condition_name+instr_type",
        {block: f"experiment_II_unit_mapping_block_{block}.csv" for block in "abcd"},
    ),
}


def table(**columns):
    usual = {
        "model": "net",
        "layer": ["a.1", "a.1", "b", "0.10"],
        "unit": [0, 0, 7, 1],
        "condition": ["natural", "natural", "optimized", "natural"],
        "participant": ["007", "008", "007", "008"],
        "correct": [True, False, True, True],
    }
    return pd.DataFrame(usual | columns)


def read(folder, frame, name="answers.csv", model="", columns=(), keep=(), conditions=()):
    path = folder / name
    if name.endswith("parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return read_answers(path, model, columns, keep, conditions)


def test_documented_columns_are_read_as_they_stand(tmp_path):
    found = read(tmp_path, table(), conditions=["optimized=synthetic"])
    assert found["layer"].tolist() == ["a.1", "a.1", "b", "0.10"]
    assert found["unit"].tolist() == [0, 0, 7, 1]
    assert found["participant"].tolist() == ["007", "008", "007", "008"]
    assert found["condition"].tolist() == ["natural", "natural", "synthetic", "natural"]
    assert found["correct"].tolist() == [True, False, True, True]
    assert (found["task"] == -1).all()


def test_parquet_gives_the_same_as_csv(tmp_path):
    pd.testing.assert_frame_equal(read(tmp_path, table()), read(tmp_path, table(), "answers.parquet"))


@pytest.mark.parametrize(
    "values", [["1", "0", "1", "1"], ["1.0", "0.0", "1.0", "1.0"], ["TRUE", "false", "True", "true"]]
)
def test_truth_may_be_written_as_number_or_word(values, tmp_path):
    assert read(tmp_path, table(correct=values))["correct"].tolist() == [True, False, True, True]


def test_unit_names_hold_layer_and_number(tmp_path):
    names = ["layer1.0/12", "layer3_5_conv3__763", "4e, 3x3 ", "a/b/3"]
    frame = table(unit_name=names).drop(columns=["layer", "unit", "condition"])
    found = read(tmp_path, frame)
    assert found["layer"].tolist() == ["layer1.0", "layer3_5_conv3", "4e, 3x3", "a/b"]
    assert found["unit"].tolist() == [12, 763, 0, 3]
    assert set(found["condition"]) == {"natural"}


def test_columns_may_have_other_names_and_be_joined(tmp_path):
    frame = table(block=["x", "y", "x", "y"], who=["p", "q", "p", "q"]).drop(columns=["participant", "model"])
    found = read(tmp_path, frame, model="other", columns=["participant=who", "condition=block+condition"])
    assert found["participant"].tolist() == ["p", "q", "p", "q"]
    assert found["condition"].tolist() == ["x/natural", "y/natural", "x/optimized", "y/natural"]
    assert set(found["model"]) == {"other"}


def test_filters_and_unread_columns_are_logged(tmp_path, caplog):
    frame = table(kind=["main", "catch", "main", "repeated"], mood="good")
    found = read(tmp_path, frame, keep=["kind=main|repeated"])
    assert len(found) == 3
    assert "3 of 4 rows count; columns not read: mood" in caplog.text


def test_tasks_are_numbers_or_names_within_their_unit(tmp_path):
    assert read(tmp_path, table(task=[4, 0, 1, 2]))["task"].tolist() == [4, 0, 1, 2]
    assert read(tmp_path, table(task=["b", "a", "b", ""]))["task"].tolist() == [1, 0, 0, -1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"correct": ["1", "yes", "no", "0"]},
            r"answers.csv: 2 rows: 3, 4: correct is 'yes', it must be True, False, 1",
        ),
        ({"unit": [0, 1.5, 2, 3]}, r"answers.csv: row 3: unit is '1.5', it must be a whole number from 0"),
        ({"unit": ["0", "-1", "x", "3"]}, r"answers.csv: 2 rows: 3, 4: unit is '-1'"),
        ({"participant": ["p", "", "", "q"]}, r"answers.csv: 2 rows: 3, 4: participant is '', it must be filled"),
    ],
)
def test_broken_rows_are_named_by_their_number(change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read(tmp_path, table(**change))


def test_row_numbers_are_those_of_the_file_also_behind_a_filter(tmp_path):
    frame = table(kind=["main", "catch", "main", "main"], correct=["1", "?", "1", "?"])
    with pytest.raises(InputError, match=r"row 5: correct is '\?'"):
        read(tmp_path, frame, keep=["kind=main"])


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (table().drop(columns="unit"), {}, r"has no column for unit; it has model.*unit_name=COLUMN"),
        (table().drop(columns="correct"), {}, r"has no column for correct.*correct=COLUMN"),
        (table(), {"columns": ["participant=subject"]}, r"no column 'subject'; it has model, layer"),
        (table(), {"columns": ["person=participant"]}, r"names the field 'person'; there are model"),
        (table(), {"keep": ["kind=main"]}, r"no column 'kind'"),
        (table(), {"keep": ["condition=easy"]}, r"no row is left after human.table.keep condition=easy; of 4 rows"),
        (table().head(0), {}, r"has no rows"),
    ],
)
def test_tables_that_do_not_fit_say_what_to_change(frame, options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read(tmp_path, frame, **options)


def test_missing_and_unreadable_files_are_errors(tmp_path):
    with pytest.raises(InputError, match=r"none.csv: no such file.*human.table.file"):
        read_answers(tmp_path / "none.csv", "", (), (), ())
    (tmp_path / "latin.csv").write_bytes(b"participant,correct\nJos\xe9,1\n")
    with pytest.raises(
        InputError, match=r"latin.csv: line 2 is not UTF-8 \(byte 0xe9 at place 4, behind 'Jos'\).*CSV UTF-8"
    ):
        read_answers(tmp_path / "latin.csv", "", (), (), ())
    (tmp_path / "half.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InputError, match=r"half.parquet is no Parquet file"):
        read_answers(tmp_path / "half.parquet", "", (), (), ())


# ---- tables of other programs

HEADER = "model,layer,unit,participant,correct,task\n"
FORMS = {
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "UTF-16 with tabs": lambda text: text.replace(",", "\t").encode("utf-16"),
    "a mark": lambda text: text.encode("utf-8-sig"),
    "blank rows": lambda text: text.replace("\n", "\r\n,,,,,\r\n").encode(),
    "sep=": lambda text: ("sep=;\n" + text.replace(",", ";")).encode(),
    "columns twice that are not read": lambda text: "\n".join(
        f"{line},{'note,note' if i == 0 else 'x,y'}" for i, line in enumerate(text.split("\n")) if line
    ).encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_answers_in_every_form(form, tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text(HEADER + "net,a.1,0,007,1,1\nnet,b,3.0,8.0,FALSE,1.0\n")
    expected = read_answers(path, "", (), (), ())
    path.write_bytes(FORMS[form](path.read_text()))
    pd.testing.assert_frame_equal(read_answers(path, "", (), (), ()), expected)


TASKS = [
    (["1", "1.0", "2"], [1, 1, 2]),
    (["1", "1.0", "2", "5000"], [1, 1, 2, 5000]),
    (["1", "1.0", "2", ""], [1, 1, 2, -1]),
    (["1", "1.0", "2", "-1"], [1, 1, 2, -1]),
    (["1", "1.0", "x"], [0, 0, 1]),
    (["1", "01", "001"], [2, 1, 0]),
    (["40000", "70000.0"], [40_000, 70_000]),
    (["2147483647", "0"], [2**31 - 1, 0]),
    (["2147483648", "0"], [1, 0]),
    (["", ""], [-1, -1]),
]


@pytest.mark.parametrize(("cells", "tasks"), TASKS)
def test_spellings_of_one_task_are_one_task_whatever_stands_beside_them(cells, tasks, tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text(HEADER + "".join(f"net,a,0,p{i},1,{cell}\n" for i, cell in enumerate(cells)))
    found = read_answers(path, "", (), (), ())
    assert found["task"].tolist() == tasks
    assert found["task"].dtype == np.int32


def test_many_tasks_and_many_people_stay_apart(tmp_path):
    path, n = tmp_path / "answers.csv", 70_000
    path.write_text(HEADER + "".join(f"net,a,0,{i},1,t{i}\n" for i in range(n)))
    found = read_answers(path, "", (), (), ())
    assert found["task"].nunique() == found["participant"].nunique() == n
    assert found["task"].min() == 0


def test_ids_of_people_are_one_by_one_rule(tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr("study.files.casts.log.warning", lambda text, *values: heard.append(text % values))
    path = tmp_path / "answers.csv"
    path.write_text(HEADER + "".join(f"net,a,0,{who},1,\n" for who in ("7", "7.0", "007", "12e5", "1.23457E+11")))
    found = read_answers(path, "", (), (), ())
    assert found["participant"].tolist() == ["7", "7", "007", "12e5", "123457000000"]
    shown = "row 6: participant 1.23457E+11 looks like a long number that a spreadsheet shortened; several may have become one"
    assert heard == [f"{path}: {shown}"]
    assert read_answers(path, "", (), ["participant=7|007.0"], ())["participant"].tolist() == ["7", "7"]


KINDS = {
    "text": pa.array(["1", "2", "3"]),
    "large text": pa.array(["1", "2", "3"], pa.large_string()),
    "view of text": pa.array(["1", "2", "3"], pa.string_view()),
    "bytes": pa.array([b"1", b"2", b"3"]),
    "view of bytes": pa.array([b"1", b"2", b"3"], pa.binary_view()),
    "fixed bytes": pa.array([b"1", b"2", b"3"], pa.binary(1)),
    "categories": pa.array(["1", "2", "3"]).dictionary_encode(),
    "categories of numbers": pa.array([1.0, 2.0, 3.0]).dictionary_encode(),
    "int8": pa.array([1, 2, 3], pa.int8()),
    "uint64": pa.array([1, 2, 3], pa.uint64()),
    "float": pa.array([1.0, 2.0, 3.0], pa.float32()),
    "double": pa.array([1.0, 2.0, 3.0]),
    "half": pa.array(np.array([1, 2, 3], np.float16)),
    "decimal": pa.array([Decimal("1.00"), Decimal("2.00"), Decimal("3.00")]),
}


@pytest.mark.parametrize("field", ["unit", "participant", "task", "confidence"])
@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_every_kind_give_the_same_ids(kind, field, tmp_path):
    columns = {"model": ["net"] * 3, "layer": ["a"] * 3, "unit": [1, 2, 3], "participant": ["x", "y", "z"]}
    columns |= {"correct": [True, False, None], "task": [1, 2, 3], "confidence": [3, 2, 1]}
    columns["correct"] = [True, False, True]
    pq.write_table(pa.table(columns | {field: KINDS[kind]}), tmp_path / "a.parquet")
    found = read_answers(tmp_path / "a.parquet", "", (), (), ())
    assert found[field].astype(str).tolist() == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ({"unit": [[1], [2]]}, "column unit holds list<.*one text or number a row"),
        ({"unit": [1, None]}, "row 3: unit is '', it must be filled"),
        ({"participant": [b"p", b"\xff"]}, r"row 3: participant is .*xff.*, it must be text in UTF-8"),
        ({"unit": [1.0, 1e30]}, r"row 3: unit is '1e\+30', it must be a whole number"),
        ({"correct": [1.0, 0.5]}, "row 3: correct is '0.5'"),
        ({"correct": [True, None]}, "row 3: correct is '', it must be filled"),
    ],
)
def test_columns_of_parquet_that_do_not_fit_are_refused_by_row(column, told, tmp_path):
    usual = {"model": ["net"] * 2, "layer": ["a"] * 2, "unit": [1, 2], "participant": ["x", "y"], "correct": [1, 0]}
    pq.write_table(pa.table(usual | column | {"deep": [[1], []]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=f"a.parquet: {told}"):
        read_answers(tmp_path / "a.parquet", "", (), (), ())


def test_parquet_is_known_by_its_content_and_an_index_is_a_column(tmp_path):
    table().set_index("participant").to_parquet(tmp_path / "answers.csv")
    assert read_answers(tmp_path / "answers.csv", "", (), (), ())["participant"].tolist() == [
        "007",
        "008",
        "007",
        "008",
    ]
    (tmp_path / "answers.parquet").write_text(HEADER)
    with pytest.raises(InputError, match=r"answers.parquet is no Parquet file, or damaged"):
        read_answers(tmp_path / "answers.parquet", "", (), (), ())


ROWS = "net,a,0,p,1,\n"
BROKEN = {
    "a unit that overflows": (
        ROWS + "net,a,1e30,p,1,\n",
        "row 3: unit is '1e30', it must be a whole number from 0 to 2,147,483,647",
    ),
    "behind a cell of two lines": ('"net","a\nb",0,p,1,\nnet,a,1,p,maybe,\n', "row 3: correct is 'maybe'"),
    "behind a blank row": (ROWS + "\n" + ROWS + "net,a,0,p,maybe,\n", "row 5: correct is 'maybe'"),
    "behind a row of separators": (ROWS + ",,,,,\nnet,a,0,p,maybe,\n", "row 4: correct is 'maybe'"),
    "a decimal comma": (ROWS + 'net,a,0,p,"1,0",\n', "row 3: correct is '1,0', it must be .*; a number has a point"),
    "no value": (ROWS + "net,a,0,#N/A,1,\n", "row 3: participant is '#N/A', it must be an id"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_rows_are_those_of_a_spreadsheet(fault, tmp_path):
    content, told = BROKEN[fault]
    (tmp_path / "answers.csv").write_text(HEADER + content)
    with pytest.raises(InputError, match=f"answers.csv: {told}"):
        read_answers(tmp_path / "answers.csv", "", (), (), ())


def test_a_number_in_a_name_of_a_unit_has_bounds_too(tmp_path):
    frame = table(unit_name=["conv/3.0", "conv/3", "conv/x", "conv/99999999999999999999"]).drop(
        columns=["layer", "unit"]
    )
    with pytest.raises(InputError, match=r"row 5: unit_name is 'conv/9+', it must be LAYER/NUMBER with a whole number"):
        read(tmp_path, frame)
    found = read(tmp_path, frame.head(3))
    assert found[["layer", "unit"]].to_numpy().tolist() == [["conv", 3], ["conv", 3], ["conv/x", 0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conditions": ["optimized"]}, r"human.table.conditions has 'optimized', it must read VALUE=CONDITION"),
        ({"keep": ["main"]}, r"human.table.keep has 'main', it must read COLUMN=VALUE"),
        ({"columns": ["participant"]}, r"human.table.columns has 'participant', it must read FIELD=COLUMN"),
        ({"keep": ["condition=FALSE"]}, r"none has that value. Before it condition is 'natural', 'optimized'"),
    ],
)
def test_rules_that_do_not_fit_say_what_to_change(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read(tmp_path, table(), **options)


def test_names_in_capitals_are_pointed_out(tmp_path):
    with pytest.raises(
        InputError, match=r"no column for participant, unit;.* as in participant=Participant, unit=Unit"
    ):
        read(tmp_path, table().rename(columns={"participant": "Participant", "unit": "Unit"}))


# ---- the stage


def run_human(folder, external, **changes):
    tiny_study.write_params(folder / "params.yaml", ROOT, human__source="table", images__source="folder", **changes)
    arguments = {"params": "params.yaml", "tasks": "tasks", "images": "images", "roster": "roster.csv", "out": "human"}
    places = [f"--{name}={folder / place}" for name, place in arguments.items()]
    human.main([*places, f"--external={external}", f"--names={folder}"])
    return read_parquet(folder / "human" / "units.parquet"), read_parquet(folder / "human" / "responses.parquet")


def test_stage_feeds_a_table_to_the_same_files(tmp_path):
    write_parquet(tmp_path / "answers.parquet", table())
    units, responses = run_human(tmp_path, tmp_path, human__table__file="answers.parquet")
    assert units[["layer", "unit", "n_responses", "his"]].to_numpy().tolist() == [
        ["0.10", 1, 1, 1.0],
        ["a.1", 0, 2, 0.5],
        ["b", 7, 1, 1.0],
    ]
    assert list(responses.columns) == schemas.RESPONSES.names
    assert set(units["source"]) == {"table"}
    for name in ("exclusions", "crosstab", "verdicts", "unmatched"):
        assert read_csv(tmp_path / "human" / f"{name}.csv").empty


def test_stage_needs_a_network(tmp_path):
    write_parquet(tmp_path / "answers.parquet", table().drop(columns="model"))
    with pytest.raises(InputError, match=r"no column for model.*human.table.model"):
        run_human(tmp_path, tmp_path, human__table__file="answers.parquet")


@pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real data beside the repository")
@pytest.mark.parametrize("experiment", FILES)
def test_published_answers_give_the_published_scores(experiment, tmp_path):
    file, unit, condition, mappings = FILES[experiment]
    columns = [f"unit_name={unit}", f"condition={condition}", "participant=subject_id", "task=batch"]
    changes = BOROWSKI | {"human__table__file": file, "human__table__columns": columns}
    units, responses = run_human(tmp_path, REAL / "human_2afc", **changes)
    if experiment == "I":
        share = responses.groupby("condition")["correct"].mean()
        assert share.round(2).to_dict() == {"natural": 0.92, "synthetic": 0.82}  # as in the paper
        units["condition"] = units["condition"].replace({"synthetic": "optimized"})
    assert (len(responses), responses["participant"].nunique()) == {"I": (900, 10), "II": (3680, 23)}[experiment]
    expected = pd.read_csv(REAL / "human_2afc_per_unit.csv", dtype={"batch_block": "str"}).fillna({"batch_block": ""})
    expected = expected[(expected["experiment"] == experiment) & ~expected["condition"].str.startswith("none")]
    place = ["batch_block", "layer_name", "branch", "feature_map", "condition"]
    both = units.merge(feature_maps(mappings), on="layer", how="left").merge(expected, on=place, how="outer")
    assert len(both) == len(units) == len(expected) == {"I": 90, "II": 640}[experiment]
    assert (both["n_responses"] == both["n_trials"]).all()
    np.testing.assert_array_equal(both["his"], both["n_correct"] / both["n_trials"])


def feature_maps(mappings):
    """Feature map of every unit as the answers call it: layer_0/1/channel_0, in experiment II after its block."""
    parts = []
    for block, file in mappings.items():
        frame = pd.read_csv(REAL / "human_2afc" / file, skiprows=1)
        spelled = "layer_{}/{}/channel_{}".format
        numbers = zip(*(frame[f"{name}_number"] for name in ("layer", "kernel_size", "channel")), strict=True)
        frame["layer"] = [(f"{block}/" if block else "") + spelled(*row) for row in numbers]
        parts.append(frame.assign(batch_block=block))
    table = pd.concat(parts).rename(columns={"kernel_size": "branch", "feature_map_number": "feature_map"})
    return table[["layer", "batch_block", "layer_name", "branch", "feature_map"]]


def test_confidence_is_kept_where_the_table_has_it(tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text("model,layer,unit,participant,correct,sure\nm,l,0,a,1,3\nm,l,0,b,0,\n")
    found = read_answers(path, "", ["confidence=sure"], [], [])
    assert found["confidence"].tolist() == [3, pd.NA]
    assert read_answers(path, "", [], [], [])["confidence"].isna().all()
    path.write_text(path.read_text() + "m,l,0,c,0,4\n")
    with pytest.raises(InputError, match="row 4: confidence is '4', it must be 1, 2, 3 or empty"):
        read_answers(path, "", ["confidence=sure"], [], [])
