"""Layers that give no units, from the pass over the images to the table, and to the check of a roster."""

import json
import logging

import pandas as pd
import pytest

from interpretability.networks.reasons import FIRST, LAST, NEVER, OUTSIDE
from study.extraction import left_out, passes
from study.report.page.facts import left_out_words
from tools import roster

CODE = """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.qkv = nn.Conv2d(3, 8, 8, stride=8), nn.Linear(8, 24)
        self.odd, self.unused = nn.Linear(8, 8), nn.Linear(8, 5)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x).flatten(2).mT
        x = F.linear(x, self.qkv.weight, self.qkv.bias)[..., :8]
        x = x @ self.odd.weight.T + self.attention(x, x, x)[0]
        return self.head(x.mean(1))

def make():
    return Net()
"""
FOUND = [
    ("stem", "Conv", 8, FIRST),
    ("odd", "Linear", 8, f"{NEVER}; its weights act through T, which is not read"),
    ("unused", "Linear", 5, NEVER),
    ("head", "Linear", 4, LAST),
]


def rows_of(folder, name):
    table = pd.read_csv(folder / "left_out.csv", dtype={"model": str}, keep_default_na=False)
    assert table.columns.tolist() == left_out.COLUMNS
    return [tuple(row) for row in table.loc[table["model"] == name, left_out.COLUMNS[1:]].to_numpy().tolist()]


@pytest.fixture
def odd_study(drawn_study):
    drawn_study.roster({"name": "plain"}, {"name": "odd", "constructor": "odd:make"}, {"name": "50"})
    (drawn_study.code / "odd.py").write_text(CODE)
    drawn_study.run_models()
    return drawn_study


def test_the_table_says_which_layers_give_no_units_and_why(odd_study, caplog):
    with caplog.at_level(logging.WARNING):
        out = odd_study.run_activations()
    assert rows_of(out, "odd") == FOUND
    assert rows_of(out, "plain") == rows_of(out, "50") == [("first", "Conv", 8, FIRST), ("last", "Linear", 3, LAST)]
    models = pd.read_csv(out / "left_out.csv", dtype=str)["model"]
    assert models.drop_duplicates().tolist() == ["plain", "odd", "50"], "in the order of the roster"
    layers = pd.read_parquet(out / "layers.parquet")
    assert layers.loc[layers["model"] == "odd", "layer"].tolist() == [
        "qkv",
        "attention.in_proj",
        "attention.out_proj",
    ]
    said = [record.getMessage() for record in caplog.records if "read nowhere" in record.getMessage()]
    assert said == [
        "odd: 2 of 7 layers of the wanted types are read nowhere: never called in a pass; its weights act through T, which "
        "is not read (1: odd); never called in a pass (1: unused)"
    ]


def test_what_the_store_holds_says_the_same(odd_study, caplog, monkeypatch):
    first = (odd_study.run_activations("first") / "left_out.csv").read_bytes()
    monkeypatch.setattr(passes, "_seat", None)  # nothing is loaded again
    caplog.clear()
    second = (odd_study.run_activations("second") / "left_out.csv").read_bytes()
    assert first == second
    assert "odd: 2 of 7 layers of the wanted types are read nowhere" in caplog.text


def test_the_check_of_a_roster_says_it_before_any_download(odd_study, caplog):
    with caplog.at_level(logging.INFO):
        path = odd_study.folder / "roster.csv"
        roster.main(
            ["--params", str(odd_study.folder / "params.yaml"), "--roster", str(path), "--code", str(odd_study.code)]
        )
    assert "odd: 2 of 7 layers of the wanted types are read nowhere" in caplog.text
    assert "plain: " not in caplog.text


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], ""),
        ([("a", FIRST), ("b", LAST), ("c", OUTSIDE)], ""),
        ([("a", NEVER)], "1 of 11 layers of the wanted types are read nowhere: never called in a pass (1: a)"),
        (
            [("z", FIRST), *((f"l{i}", NEVER) for i in range(5)), ("b", "complex values")],
            "6 of 17 layers of the wanted types are read nowhere: never called in a pass (5: l0, l1, l2, ...); "
            "complex values (1: b)",
        ),
    ],
)
def test_the_line_of_the_log(rows, said):
    facts = [{"layer": layer, "layer_type": "Conv", "width": 3, "reason": reason} for layer, reason in rows]
    assert left_out.words(facts, 10) == said


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "Every other layer of these types gives units."),
        ([("a", FIRST), ("b", LAST)], "Every other layer of these types gives units."),
        ([("a", NEVER)], "1 more layer of these types, in 1 network, gives no units: never called in a pass (1)."),
        (
            [("a", NEVER), ("b", NEVER), ("b", "complex values"), ("b", FIRST)],
            "3 more layers of these types, in 2 networks, give no units: never called in a pass (2), complex values (1).",
        ),
    ],
)
def test_the_sentence_of_the_report(rows, said):
    frame = pd.DataFrame([(model, "layer", "Conv", 3, reason) for model, reason in rows], columns=left_out.COLUMNS)
    assert left_out_words(frame) == said


def test_widths_that_are_not_declared_are_empty_cells():
    rows = {"net": [{"layer": "a", "layer_type": "Conv", "width": None, "reason": NEVER}], "other": []}
    table = left_out.table(rows, ["other", "net", "failed"])
    assert table.to_csv(index=False) == f"model,layer,layer_type,width,reason\nnet,a,Conv,,{NEVER}\n"
    assert left_out.table({}, []).to_csv(index=False) == "model,layer,layer_type,width,reason\n"
    assert json.loads(table.to_json(orient="records"))[0]["width"] is None
