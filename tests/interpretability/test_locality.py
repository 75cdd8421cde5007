"""Locality of maps, by hand, and how seldom units fire."""

from __future__ import annotations

import numpy as np
import pytest

from interpretability import InputError
from interpretability.label_free.locality import Locality, firing_rate, participation, peak_energy
from interpretability.randomness import generator

# images, positions, channels: one position, even, signed, nothing
MAPS = np.array([[[5, 1, -3, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0]]], np.float32)


def test_maps_by_hand():
    # squares 9, 1, 1, 1: 9 / 12 at the peak; 12^2 / (81 + 3) / 4 of the positions
    assert peak_energy(MAPS)[0].tolist() == pytest.approx([1, 0.25, 0.75, np.nan], nan_ok=True)
    assert participation(MAPS)[0].tolist() == pytest.approx([0.25, 1, 144 / 84 / 4, np.nan], nan_ok=True)


def test_neither_scale_nor_sign_counts_also_where_squares_leave_the_type():
    for scale in (1e-30, -1.0, 1e30):
        assert np.allclose(peak_energy(np.float32(scale) * MAPS), peak_energy(MAPS), equal_nan=True)
        assert np.allclose(participation(np.float32(scale) * MAPS), participation(MAPS), equal_nan=True)


@pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16"])
def test_tensors_give_what_arrays_give(kind):
    torch = pytest.importorskip("torch")
    tensors = torch.from_numpy(MAPS).to(getattr(torch, kind))
    for function in (peak_energy, participation):
        assert np.allclose(function(tensors).numpy(), function(MAPS), equal_nan=True)
    sums = Locality()
    sums.update(tensors)
    found = sums.table()
    assert found["n_maps"].tolist() == [1, 1, 1, 0]
    assert np.allclose(found["peak_energy"], peak_energy(MAPS)[0], equal_nan=True)


def test_means_leave_out_maps_of_zeros_whatever_the_batches():
    maps = generator(0, "maps").standard_normal((11, 6, 5))
    maps[2:7, :, 1] = maps[:, :, 4] = 0
    whole, parts = Locality(), Locality()
    whole.update(maps)
    for start in range(0, 11, 3):
        parts.update(maps[start : start + 3])
    found = whole.table()
    assert found["n_maps"].tolist() == [11, 6, 11, 11, 0]
    for name, function in (("peak_energy", peak_energy), ("participation", participation)):
        means = [function(maps[:, :, [unit]])[:, 0] for unit in range(4)]
        assert found[name][:4].tolist() == pytest.approx([part[part == part].mean() for part in means], rel=1e-12)
        assert np.isnan(found[name][4])
        assert np.allclose(parts.table()[name], found[name], rtol=1e-12, equal_nan=True)


def test_what_is_no_map_is_refused():
    for maps in (np.ones((2, 3)), np.ones((2, 0, 3)), [1]):
        with pytest.raises(InputError, match="positions"):
            peak_energy(maps)
    with pytest.raises(InputError, match="nothing was added"):
        Locality().table()


def test_units_fire_above_zero():
    assert firing_rate(np.array([[0.0, -1, 2], [1, 0, 3]])).tolist() == [0.5, 0, 1]
