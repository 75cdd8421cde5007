"""How DreamSim's pictures reach its network: prepared ahead, in batches that are filled up, results fetched late."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
import torch

from interpretability.similarity.backends import dreamsim
from study.images.ahead import Ahead
from tests.helpers import random_weights as given

NAME = "dreamsim-clip_vitb32"
PICTURES = np.random.default_rng(0).integers(0, 256, (23, 40, 60, 3), dtype=np.uint8)
ROWS = np.arange(len(PICTURES), dtype=np.int32)


class Shown:
    def __len__(self):
        return len(PICTURES)

    def pixels(self, row):
        return PICTURES[row]


@pytest.fixture(scope="module")
def similarity():
    with pytest.MonkeyPatch.context() as patch:
        given.small_transformers(patch)
        made = given.opened(NAME, PICTURES, whole=False)
        made.model  # noqa: B018 (built while the small network is in place)
    return made


@pytest.mark.parametrize("threads", [0, 2])
def test_bytes_prepared_ahead_give_the_embeddings(similarity, threads):
    ahead = Ahead(Shown(), threads)
    ahead.announce(ROWS, similarity.prepare, 2 * similarity.batch_size)
    parts = list(similarity.embed_parts(ROWS, ahead.prepared))
    assert [len(part) for part in parts] == [20, 3]
    np.testing.assert_array_equal(np.concatenate(parts), similarity.embed(ROWS))
    np.testing.assert_array_equal(ahead.pixels(4), PICTURES[4])  # of who asks for the picture itself
    np.testing.assert_array_equal(ahead.prepared(4), similarity.prepare(4, PICTURES[4]))


def test_threads_prepare_what_was_announced(similarity):
    ahead, asked = Ahead(Shown(), 2), []
    ahead.announce(ROWS[:6], lambda row, pixels: asked.append(row) or pixels[:2], len(ROWS))
    for row in ROWS[:6]:
        np.testing.assert_array_equal(ahead.prepared(int(row)), PICTURES[row, :2])
    assert sorted(asked) == list(range(6))


@pytest.mark.parametrize("count", [1, 7, 19])
def test_embeddings_do_not_depend_on_how_full_a_batch_is(similarity, count):
    np.testing.assert_array_equal(similarity.embed(ROWS[:count]), similarity.embed(ROWS[:20])[:count])


def test_each_picture_of_a_short_batch_is_prepared_once(similarity, monkeypatch):
    asked, usual = [], similarity.prepare
    monkeypatch.setattr(similarity, "prepare", lambda row, pixels: asked.append(row) or usual(row, pixels))
    before = similarity.forwards
    similarity.embed(ROWS[:3])
    assert asked == [0, 1, 2]
    assert similarity.forwards == before + 3


def test_a_gpu_takes_more_at_a_time():
    assert [dreamsim.DreamSim.batch_on(kind) for kind in ("cpu", "NVIDIA H200")] == [20, 256]
    assert [given.opened(NAME, PICTURES, check=False, device=device).batch_size for device in ("cpu", "cuda")] == [
        20,
        256,
    ]


class LateRoom(dreamsim._Room):
    """Stands in for pinned memory: bytes are read, and results written, as late as may be."""

    n_busy = most_busy = 0

    def start(self, count, embeddings):
        assert not hasattr(self, "_bytes"), "in use already"
        self._bytes, self._late = self.seen.copy(), embeddings.clone()
        LateRoom.n_busy += 1
        LateRoom.most_busy = max(LateRoom.most_busy, LateRoom.n_busy)
        super().start(count, torch.full_like(embeddings, torch.nan))

    def embeddings(self):
        assert np.array_equal(self.seen, self._bytes), "overwritten before it was read"
        self._found.copy_(self._late)
        del self._bytes
        LateRoom.n_busy -= 1
        return super().embeddings()


def test_results_are_fetched_late_and_nothing_is_overwritten_before(similarity, monkeypatch):
    expected = similarity.embed(ROWS)
    monkeypatch.setattr(similarity, "batch_size", 4)
    monkeypatch.setattr(similarity, "_rooms", lambda: deque(LateRoom(4) for _ in range(dreamsim._UNDER_WAY + 1)))
    parts = list(similarity.embed_parts(ROWS))
    assert LateRoom.most_busy == 3, "two batches are under way while the first result is waited for"
    assert LateRoom.n_busy == 0
    assert [len(part) for part in parts] == [4, 4, 4, 4, 4, 3]
    np.testing.assert_allclose(np.concatenate(parts), expected, rtol=1e-4, atol=1e-5)
