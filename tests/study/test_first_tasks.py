"""Which tasks greet the reader, on which side their answers stand, and how scores spread."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interpretability.schema import KEY, NATURAL
from study.files.tables import read_json
from study.report.page import distribution, inputs, listed_units, play, seeds
from tests.helpers.report_fixture import STUDY, build


def study_in(folder: Path, **options):
    build(folder, **options)
    params = read_json(folder / "provenance.json")["params"]
    folders = ("tables", "mis", "human", "calibration", "tasks", "explanations", "crowd")
    other_seeds = seeds.read_seeds(folder / "seeds.csv", STUDY)
    study = inputs.load_study(params, *(folder / name for name in folders), other_seeds)
    return study, listed_units.list_units(study, folder / "mis", folder / "scores", 100_000)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return study_in(tmp_path_factory.mktemp("known"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return study_in(tmp_path_factory.mktemp("alone"), human=False, networks=("resnet",))


@pytest.fixture(scope="module")
def varied(known):
    """The same study with margins that all differ, about one of six below 0."""
    study, listed = known
    margins = np.random.default_rng(3).normal(1, 1, listed.margins.shape).astype(np.float32)
    return study, replace(listed, margins=margins)


def keys_of(listed, turns):
    return [tuple(listed.units.loc[row, KEY]) for row, _ in turns]


def test_networks_take_turns_at_percentiles_of_their_annotated_units(known):
    study, listed = known
    turns = play.choose_play(study, listed)
    keys, names = keys_of(listed, turns), list(study.models()["model"])
    assert [key[0] for key in keys[:4]] == names
    assert len(keys) == len(set(keys)) <= play.MOST
    annotated = set(study.human[KEY].itertuples(index=False, name=None))
    assert all(key in annotated and key[3] == NATURAL for key in keys)
    # the first at the 90th, the next at the 50th, the third at the 10th percentile of its own annotated units
    mis = listed.units.set_index(KEY)["mis"]
    for key, percentile in zip(keys[:3], (90, 50, 10), strict=True):
        own = [mis[other] for other in annotated if other[0] == key[0] and other[3] == NATURAL]
        place = sum(value < mis[key] for value in own) / (len(own) - 1)
        assert place == pytest.approx(percentile / 100, abs=0.5 / (len(own) - 1) + 1e-9)


def test_the_fourth_is_the_unit_that_mis_misses_most(known):
    study, listed = known
    [key] = keys_of(listed, play.choose_play(study, listed)[3:4])
    rows = study.tables["residuals"]
    rows = rows[(rows["backend"] == study.lead) & (rows["model"] == key[0]) & (rows["condition"] == NATURAL)]
    assert key[1:3] == tuple(rows.loc[rows["z"].abs().idxmax(), ["layer", "unit"]])


def test_a_task_is_typical_of_its_unit_and_the_machine_errs_once(varied):
    study, listed = varied
    turns = play.choose_play(study, listed)
    wrong = [turn for turn in turns[: play.FIRST] if listed.margins[turn[0]][turn[1]] < 0]
    assert len(wrong) >= 1
    for row, task in turns:
        margins = listed.margins[row]
        assert margins[task] != 0
        if (row, task) not in wrong:
            asked = margins[margins != 0]
            assert (asked < margins[task]).sum() == (len(asked) - 1) // 2


def test_of_tasks_all_solved_the_unit_solved_least_shows_an_error(varied):
    _, listed = varied
    right = [(row, int(np.argmax(listed.margins[row]))) for row in range(6)]
    changed = play._with_an_error(listed, right)
    [(row, task)] = [turn for turn, before in zip(changed, right, strict=True) if turn != before]
    erring = [row for row, _ in right if (listed.margins[row] < 0).any()]
    assert row == min(erring, key=lambda each: (listed.units["accuracy"].loc[each], each))
    below = listed.margins[row][listed.margins[row] < 0]
    assert (below < listed.margins[row][task]).sum() == (len(below) - 1) // 2
    # nothing changes where one is wrong already, or where no unit has such a task
    assert play._with_an_error(listed, changed) == changed
    solved = replace(listed, margins=np.abs(listed.margins))
    assert play._with_an_error(solved, right) == right


def test_near_copies_and_ties_are_not_asked(known):
    study, listed = known
    turns = play.choose_play(study, listed)
    near = replace(listed, near={row: [task] for row, task in turns})
    assert not {*turns} & {*play.choose_play(study, near)}
    flat = replace(listed, margins=np.zeros_like(listed.margins))
    assert play.choose_play(study, flat) == []


def test_a_study_without_answers_asks_about_any_unit_of_its_network(alone):
    study, listed = alone
    turns = play.choose_play(study, listed)
    assert len(turns) == 7  # every round but the one of the most missed unit
    order = listed_units.ranked(listed.units[listed.units["condition"] == NATURAL]).index.to_list()
    assert order.index(turns[0][0]) == round(0.1 * (len(order) - 1))


def test_a_side_is_a_matter_of_chance_and_always_the_same():
    sides = [
        play.side(f"resnet/layer{layer}.conv/{unit}/natural", task)
        for layer in range(5)
        for unit in range(40)
        for task in range(20)
    ]
    assert abs(np.mean(sides) - 0.5) < 0.02
    # neither a task nor its neighbour tells the side of the next
    assert abs(np.corrcoef(sides[:-1], sides[1:])[0, 1]) < 0.03
    assert [play.side("größe/a·b/1/natural", task) for task in range(8)] == [1, 1, 1, 0, 0, 1, 1, 1]


def test_the_still_task_stands_as_the_script_asks_it(known):
    study, listed = known
    turn = play.choose_play(study, listed)[0]
    images = np.arange(20, dtype=np.int32) + 100
    number = {image: image - 100 for image in range(100, 120)}
    still = play.still_task(listed, turn, images, number, lambda rows: f"{len(rows)} pictures")
    assert still.most == tuple(range(9))
    assert still.least == tuple(range(9, 18))
    assert still.unit == "/".join(map(str, listed.units.loc[turn[0], KEY]))
    assert still.queries == ((18, 19) if play.side(still.unit, turn[1]) == 0 else (19, 18))


# ---------------------------------------------------------------- how scores spread
def test_every_scored_unit_is_counted_once_in_its_network(known, tmp_path):
    study, listed = known
    folder = tmp_path
    units = listed.units.assign(backend=study.lead)
    (folder / "mis").mkdir()
    units.drop(columns="tasks_alone").to_parquet(folder / "mis/units.parquet")
    spread = distribution.read_spread(study, folder / "mis/units.parquet")
    natural = listed.units[listed.units["condition"] == NATURAL]
    assert [net.name for net in spread.networks] == list(study.models()["model"])
    for net in spread.networks:
        own = natural.loc[natural["model"] == net.name, "mis"]
        assert sum(net.counts) == net.n == len(own)
        at = np.minimum(((own - spread.start) / distribution.WIDTH).astype(int), len(net.counts) - 1)
        assert list(net.counts) == np.bincount(at, minlength=len(net.counts)).tolist()
    assert spread.mis == pytest.approx(tuple(natural["mis"].quantile([0.25, 0.75])))
    content = spread.as_content()
    assert content["bins"] == [spread.start, distribution.WIDTH]
    assert content["nets"][0]["mean"] == round(1e6 * spread.networks[0].mean)


def network(name, counts, mean=0.7, colour=""):
    return distribution.Network(name, sum(counts), mean, mean - 0.01, mean + 0.01, 0.5, 0.9, colour, tuple(counts))


def test_the_axis_and_the_outlines_share_one_scale():
    counts = [0] * 48
    counts[24], counts[30] = 6, 2
    spread = distribution.Spread((network("a", counts), network("b", [1] * 48)), 0.4, (0.6, 0.8), (0.9, 1.0))
    axis = spread.axis()
    assert [words for words, _, _ in axis] == ["0.5", "0.6", "0.7", "0.8", "0.9", "1.0"]
    assert [words for words, _, guess in axis if guess] == ["0.5"]
    assert axis[-1][1] == 100
    assert spread.place(0.7) == 50
    # the tallest bin of all fills nine tenths; the mark stands on the outline of its bin
    assert spread.height(0, 0.4 + 24.5 / 80) == distribution.FILLED
    assert spread.height(0, 0.4 + 30.5 / 80) == pytest.approx(distribution.FILLED / 3, abs=0.01)
    assert "L51 10L" in spread.path(0)
    assert spread.path(1).count("L") == 49
    assert spread.words().startswith(
        "a: mean 0.700, interval 0.690 to 0.710, 5th to 95th percentile 0.500 to 0.900; b: "
    )


def test_a_unit_below_the_axis_moves_its_start():
    row = {"model": "a", "mis_mean": 0.56, "mis_low": 0.5, "mis_high": 0.6, "p5": 0.1, "p95": 0.9}
    net = distribution._network(row, pd.DataFrame({"mis": [0.13, 0.99]}), 0.1, "")
    assert [at for at, n in enumerate(net.counts) if n] == [2, 71]
    assert len(net.counts) == 72


def test_of_many_networks_both_ends_and_some_between_are_drawn():
    many = distribution.Spread(tuple(network(f"n{i}", [1] * 48) for i in range(835)), 0.4, (0.6, 0.8), (0.9, 1.0))
    shown = many.shown()
    assert (shown[0], shown[-1], len(shown)) == (0, 834, distribution.MOST_ROWS)
    assert {b - a for a, b in pairwise(shown)} == {139}
    assert many.words().count("mean") == distribution.MOST_ROWS
