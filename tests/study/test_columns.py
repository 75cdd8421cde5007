"""Kept columns that gather on a device are those that a CPU keeps, and nobody reads them before they have arrived."""

import numpy as np
import pytest
import torch

from study.extraction.columns import Columns, DeviceColumns

UNITS = [5, 0, 17]


class Stream:
    """Stands for a stream of a GPU: copies that do not block are done once an event behind them is waited for."""

    def __init__(self, monkeypatch):
        self.pending, self.waited = [], 0
        usual, stream = torch.Tensor.copy_, self

        def copy_(to, source, non_blocking=False):
            if not non_blocking:
                return usual(to, source)
            self.pending.append((to, source.clone()))  # what the device does later comes after the copy
            return to

        class Event:
            def record(self):
                self.before = list(stream.pending)

            def synchronize(self):
                stream.waited += 1
                for to, source in self.before:
                    usual(to, source)
                stream.pending.clear()

        monkeypatch.setattr(torch.Tensor, "copy_", copy_)
        self.event = Event

    def columns(self, units, n, batch):
        """Columns on a device that has this stream."""
        columns = DeviceColumns(units, n, batch, "cpu")
        columns._arrived = self.event()
        return columns


def offered(columns, values, batch, first=0):
    for start in range(first, len(values), batch):
        columns.take(start, torch.from_numpy(values[start : start + batch]))


@pytest.fixture
def stream(monkeypatch):
    return Stream(monkeypatch)


@pytest.mark.parametrize(("n", "batch", "waited"), [(5000, 256, 5), (4096, 256, 4), (700, 256, 1), (9000, 2000, 2)])
def test_columns_are_those_of_the_values(stream, n, batch, waited):
    values = np.random.default_rng(0).normal(size=(n, 20)).astype(np.float32)
    columns, usual = stream.columns(UNITS, n, batch), Columns(UNITS, n)
    offered(columns, values, batch)
    offered(usual, values, batch)
    for found in (columns.until(n), usual.until(n)):
        np.testing.assert_array_equal(found, values[:, UNITS].T)
        assert found.flags.c_contiguous
    assert stream.waited == waited, "once for all images that fit, not for each batch"


def test_a_save_in_between_takes_everything_and_changes_nothing(stream):
    values = np.random.default_rng(0).normal(size=(3000, 20)).astype(np.float32)
    columns = stream.columns(UNITS, 3000, 100)
    offered(columns, values[:1300], 100)
    saved = columns.until(1300)
    np.testing.assert_array_equal(saved, values[:1300, UNITS].T)
    np.testing.assert_array_equal(columns.until(1300), saved)
    taken_up = stream.columns(UNITS, 3000, 100)
    taken_up.restore(saved)
    for each in (columns, taken_up):
        offered(each, values, 100, first=1300)
        np.testing.assert_array_equal(each.until(3000), values[:, UNITS].T)


def test_no_columns_are_no_work(stream):
    columns = stream.columns([], 3000, 100)
    assert len(columns) == 0
    assert columns.until(2000).shape == (0, 2000)
    assert not stream.waited
