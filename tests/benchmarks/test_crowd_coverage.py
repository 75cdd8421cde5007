"""The table of the coverage of scores from ratings: figures by hand, waves that are added up, runs that go on."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import crowd_coverage
from benchmarks.crowd_coverage import Cell, added, cells, figures
from interpretability.explanations.latent.given import RatedPairs


def test_figures_by_hand():
    found = pd.DataFrame(
        {
            "study": [0, 0, 1, 1],
            "rho": [0.2, 0.4, 0.1, 0.3],
            "ours": [0.3, 0.4, np.nan, 0.1],
            "reach": [0.05, 0.1, np.nan, 0.25],
            "guide": [0.2, 0.4, 0.1, 0.8],
            "paper": [0.2, 0.5, 0.1, 0.3],
            "paper_reach": [0.01, 0.05, 0.01, 0.01],
            "prevalence": [0.01, 0.05, 0.1, 0.2],
            "rhat": [1.0, 1.2, 1.1, 1.0],
        }
    )
    told = figures(found)
    # errors .1, 0, .1 (no score counts as 0) and .2 of 1.0 in all
    assert told["rce"] == pytest.approx(0.4)
    assert told["rce_guide"] == pytest.approx(0.5)
    assert told["rce_paper"] == pytest.approx(0.1)
    assert told["undefined"] == 0.25
    # of three with a score the first lies above
    assert told["coverage"] == pytest.approx(2 / 3)
    assert told["above"] == pytest.approx(1 / 3)
    assert (told["coverage_low"], told["coverage_high"]) == (0.0, 1.0)
    assert told["bias"] == pytest.approx(-0.1 / 0.9)
    assert told["width"] == pytest.approx(2 * 0.4 / 3)
    assert told["coverage_paper"] == 0.75
    assert told["rhat"] == 1.2


def test_waves_add_up():
    first = RatedPairs(np.array([0, 0]), np.array([5, 7]), np.array([1, 1]), np.array([1, 0]))
    second = RatedPairs(np.array([0, 1]), np.array([7, 7]), np.array([1, 1]), np.array([1, 1]))
    both = added(first, second)
    assert [both.pair.tolist(), both.image.tolist()] == [[0, 0, 1], [5, 7, 7]]
    assert [both.n.tolist(), both.yes.tolist()] == [[1, 2, 1], [1, 1, 1]]
    assert both.adaptive


def test_every_cell_has_a_title_of_its_own():
    titles = [tuple(cell.title().values()) for cell in cells()]
    assert len(set(titles)) == len(titles) > 50


def test_a_run_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    small = {"n_units": 8, "n_images": 400}
    monkeypatch.setattr(crowd_coverage, "RESULTS", tmp_path)
    monkeypatch.setattr(crowd_coverage, "GOLD", 10)
    chosen = [
        Cell("good", ratings=60, world=small),
        Cell("good", ratings=60, world=small, design="adaptive", gold=False),
    ]
    monkeypatch.setattr(crowd_coverage, "cells", lambda: chosen[:1])
    crowd_coverage.main(["--pairs", "16"])
    first = (tmp_path / "crowd_coverage.csv").read_text()
    monkeypatch.setattr(crowd_coverage, "cells", lambda: chosen)
    monkeypatch.setattr(crowd_coverage, "of_paper", of_paper_once(chosen[1], crowd_coverage.of_paper))
    crowd_coverage.main(["--pairs", "16"])
    table = pd.read_csv(tmp_path / "crowd_coverage.csv")
    assert (tmp_path / "crowd_coverage.csv").read_text().startswith(first)
    assert table["design"].tolist() == ["fixed", "adaptive"]
    assert table["pairs"].tolist() == [16, 16]
    assert table["coverage"].between(0, 1).all()


def of_paper_once(cell, compute):
    """Computes for this cell alone: others must have been left out."""

    def checked(asked, world, seed):
        assert asked == cell
        return compute(asked, world, seed)

    return checked
