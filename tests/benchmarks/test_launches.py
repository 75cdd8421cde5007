"""What the study launches, moves and waits for beyond a network, counted on fake tensors of a GPU."""

import numpy as np
import pytest
import timm
import torch

from benchmarks import launches
from interpretability.networks.preprocessing import Preprocessing
from study.extraction.running import Running

VIEW = Preprocessing(32, 36, (0.5, 0.4, 0.3), (0.5, 0.4, 0.3))


@pytest.fixture
def gpu():
    with launches.fake_gpu():
        yield torch.device("cuda:0")


def total(counting):
    launched, size, waited = counting.sums(1)
    return sum(launched.values()), sum(size.values()), sum(waited.values())


@pytest.mark.parametrize(
    ("work", "launched", "values", "waited"),
    [
        (lambda x, out: x.view(-1).unflatten(0, (4, 8)).T.detach(), 0, 0, 0),
        (lambda x, out: torch.empty_like(x), 0, 0, 0),
        (lambda x, out: x + 1, 1, 64, 0),
        (lambda x, out: x.add_(1), 1, 64, 0),
        (lambda x, out: x.mean(dim=1) * 2, 2, 32 + 4 + 4 + 4, 0),
        (lambda x, out: torch.mean(x, dim=1, out=out[1:2].view(8)[:4]), 1, 36, 0),
        (lambda x, out: x.index_select(1, torch.arange(2, device=x.device)), 2, 2 * 2 + 8 + 2 * 2 + 8, 0),
        (lambda x, out: x.index_copy_(1, torch.arange(2, device=x.device), out[:, :2]), 2, 2 * 2 + 2 * 2 + 8 + 8, 0),
        (lambda x, out: x.cpu(), 1, 64, 1),
        (lambda x, out: x.to("cpu", non_blocking=True), 1, 64, 0),
        (lambda x, out: torch.empty((4, 8), pin_memory=True).copy_(x, non_blocking=True), 1, 64, 0),
        (lambda x, out: torch.empty((4, 8), pin_memory=True).copy_(x), 1, 64, 1),
        (lambda x, out: x.copy_(torch.empty((4, 8))), 1, 64, 1),
        (lambda x, out: x[0, 0].item(), 0, 0, 1),
        (lambda x, out: bool((x > 0).any()), 2, 32 + 8 + 8 + 0.25, 1),
    ],
)
def test_operations_are_counted_by_hand(gpu, work, launched, values, waited):
    """`values` of 4 bytes: what goes in and comes out of each operation."""
    x, out = torch.empty((4, 8), device=gpu), torch.empty((4, 8), device=gpu)
    with launches.Counting() as counting:
        work(x, out)
    assert total(counting) == (launched, 4 * values, waited)


def test_launches_are_told_apart_by_who_asks_for_them(gpu):
    with launches.Counting() as counting:
        VIEW.normalised(torch.empty((2, 3, 32, 32), dtype=torch.uint8, device=gpu))
        torch.ones(2, device=gpu)
    launched, _, _ = counting.sums(1)
    assert set(launched) == {"pictures", "network"}
    assert launched["network"] == 1


@pytest.mark.parametrize("network", launches.NETWORKS)
def test_a_batch_launches_and_moves_little_beyond_the_network(network):
    for count in launches.counted(network, 256, ["float32", "float16"], batches=16):
        launched, size = count.beyond()
        assert count.launches["network"] == count.plain[0], "reading units adds nothing to the network itself"
        assert launched <= launches.LIMIT_LAUNCHES, (count.precision, count.launches)
        assert size <= launches.LIMIT_BYTES[network], (count.precision, count.bytes)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_host_waits_for_no_batch_with_kept_columns(gpu, precision, monkeypatch):
    """Merges and journeys of columns may be waited for once in 16 batches and more."""
    with torch.device("meta"):
        model = timm.create_model("test_resnet").eval()
    seat = launches.seat_of("test_resnet", launches.put_on_fake_gpu(model), VIEW)
    seat.shared["precision"] = precision
    n, batches = 64, 40
    running = Running(seat, range(n * batches), launches._NoStore(), n)
    received = []
    monkeypatch.setattr(launches._Event, "synchronize", received.append)
    waits = []
    for start in range(0, n * batches, n):
        pictures = torch.empty((n, 3, 32, 32), dtype=torch.uint8, device=gpu)
        ready = VIEW.normalised(pictures)
        with launches.Counting() as counting:
            running.step(np.arange(start, start + n), ready)
        waits.append(total(counting)[2])
    running.close()
    assert sum(waits) <= batches / 16, waits
    assert len(received) == 1, "of the first 1,024 images when the next ones leave"
