"""The benchmarks of simulated crowds: the plain loop finds what the kernel finds, and the kept figures agree."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import crowd_reference, crowd_setting1
from benchmarks.harness import COMMITTED
from interpretability.explanations.experiments import (
    PUBLISHED_AGGREGATIONS,
    PUBLISHED_SAMPLERS,
    Plan,
    deviations,
)
from interpretability.synthetic.crowd_worlds import crowd_world
from study.files.tables import read_csv


def test_the_plain_loop_of_setting_1_finds_the_same():
    world = crowd_world("imagenet_like", seed=0, n_units=3, n_images=2000)
    plan = Plan(PUBLISHED_SAMPLERS, PUBLISHED_AGGREGATIONS, (1, 9), (30, 300), 3)
    found = deviations(world, plan, crowd_setting1.SEED)
    for unit in range(3):
        slow = crowd_setting1.absolute(crowd_setting1.plain(world, unit, plan), float(world.rho[unit]), plan.sizes)
        assert np.isfinite(slow).all()
        assert found.absolute[..., 0, unit] == pytest.approx(slow, abs=1e-9)


def test_the_slope_estimate_is_that_of_the_kernel():
    rng = np.random.default_rng(0)
    label, w, a = rng.random((2, 400)), rng.random((2, 400)) + 0.5, rng.standard_normal((2, 400))
    estimate, se = crowd_reference._slope(label, w, a)
    for row in range(2):
        c = np.cov(a[row], label[row], aweights=w[row], ddof=0)
        mean = np.average(label[row], weights=w[row])
        assert estimate[row] == pytest.approx(c[0, 1] / c[1, 1] * np.sqrt(mean * (1 - mean)))
    assert (se > 0).all()


def test_kept_figures_are_those_of_an_independent_simulation():
    """All but one or two of about 180 agree: theirs are of one world."""
    table = read_csv(COMMITTED / "crowd_reference.csv")
    assert len(table) > 150
    assert table["agrees"].mean() > 0.98
    tables = table.groupby("table")["agrees"].mean()
    assert tables.min() > 0.9
