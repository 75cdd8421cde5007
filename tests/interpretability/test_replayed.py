"""Recorded batches give the bytes of plain ones, on memory of their own; what cannot be recorded runs plainly and says why."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from interpretability.networks.capture import Capture
from interpretability.networks.layers import find_layers
from interpretability.networks.replayed import CudaRecorder, Replayed, Waits
from tests.helpers.recordings import Graphs, WrittenDown
from tests.helpers.small_networks import SIZE, SMALL


def small(seed=0):
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.Flatten(), nn.Linear(180, 6)
    return nn.Sequential(*layers).eval()


class Counting(nn.Module):
    """A network that counts its calls."""

    def __init__(self):
        super().__init__()
        self.inner, self.calls = small(), 0
        self.eval()

    def forward(self, batch):
        self.calls += 1
        return self.inner(batch)


def batches(n, size=8, images=4):
    return list(torch.randn((n, images, 3, size, size), generator=torch.Generator().manual_seed(1)))


def plainly(network, layers, shown):
    """Values of batches by captures that nobody else's hooks disturb."""
    return [Capture(network, layers, len(batch), "cpu")(batch).clone() for batch in shown]


def replayed_as_plainly(network, recorder, shown):
    """The replayed capture after batches that all had the bytes of plain ones."""
    layers = layers_of(network)
    plain = plainly(network, layers, shown)
    with Capture(network, layers, 4, "cpu") as capture:
        replayed = Replayed(capture, recorder)
        for batch, right in zip(shown, plain, strict=True):
            assert torch.equal(replayed(batch), right)
    return replayed


def layers_of(network, size=8):
    return find_layers(network, batches(1, size)[0][:3], drop_first_last=False)


@pytest.mark.parametrize("name", SMALL)
def test_replays_have_the_bytes_of_plain_batches(name):
    network = SMALL[name]().eval()
    layers, shown = layers_of(network, SIZE), batches(4, SIZE, images=2)
    plain = plainly(network, layers, shown)
    recorder = WrittenDown()
    with Capture(network, layers, 2, "cpu") as capture:
        replayed = Replayed(capture, recorder)
        for number, (batch, right) in enumerate(zip(shown, plain, strict=True)):
            given = batch.clone()
            assert torch.equal(replayed(given), right)
            given.zero_()  # a batch is read in the call, not later
            assert replayed.form == ("plain" if number < 2 else "graph"), replayed.reason
    assert recorder.replays == 3  # one to compare, two in place of plain batches
    assert not torch.equal(plain[2], plain[3])


def test_a_replay_asks_nothing_of_python_and_values_hold_until_the_next():
    network = Counting()
    layers, shown = layers_of(network), batches(6)
    with Capture(network, layers, 4, "cpu") as capture:
        replayed = Replayed(capture, WrittenDown())
        for batch in shown[:2]:
            replayed(batch)
        calls = network.calls
        first = replayed(shown[2])
        kept = first.clone()
        second = replayed(shown[3])
        assert network.calls == calls
        assert not torch.equal(kept, second)
        assert first.data_ptr() == second.data_ptr()


def test_networks_share_a_recorder():
    networks, shown, recorder = [small(0), small(1)], batches(5), WrittenDown()
    layers = layers_of(networks[0])
    plain = [plainly(network, layers, shown) for network in networks]
    captures = [Capture(network, layers, 4, "cpu") for network in networks]
    with captures[0], captures[1]:
        both = [Replayed(capture, recorder) for capture in captures]
        for number, batch in enumerate(shown):
            for replayed, right in zip(both, plain, strict=True):
                assert torch.equal(replayed(batch), right[number])
        assert [replayed.form for replayed in both] == ["graph", "graph"]
        assert len(recorder.inputs) == 1
        both[0].close()
        assert torch.equal(both[0](shown[0]), plain[0][0])
        assert torch.equal(both[1](shown[1]), plain[1][1])
        assert [replayed.form for replayed in both] == ["plain", "graph"]
    assert both[0].reason == "it is closed"


def test_values_that_are_not_finite_are_compared_too():
    network, shown = small(), batches(3)
    layers = layers_of(network)
    for batch in shown:
        batch[1] = torch.nan
    with Capture(network, layers, 4, "cpu") as capture:
        replayed = Replayed(capture, WrittenDown())
        values = [replayed(batch).clone() for batch in shown]
    assert replayed.form == "graph"
    assert values[2].isnan().any()


def test_batches_of_another_shape_run_plainly():
    network, shown = small(), batches(4)
    layers = layers_of(network)
    (plain,) = plainly(network, layers, [shown[3][:2]])
    with Capture(network, layers, 4, "cpu") as capture:
        replayed = Replayed(capture, WrittenDown())
        for batch in shown[:3]:
            replayed(batch)
        assert torch.equal(replayed(shown[3][:2]), plain)
        assert replayed.form == "plain"
        replayed(shown[3])
        assert replayed.form == "graph"


class Reads(nn.Module):
    """A network that asks for values while it runs."""

    def __init__(self, ask):
        super().__init__()
        self.inner, self._ask = small(), ask
        self.eval()

    def forward(self, batch):
        self._ask(batch)
        return self.inner(batch)


ASKS = {
    "aten._local_scalar_dense.default": lambda batch: float(batch.mean()),
    "aten.nonzero.default": lambda batch: batch.nonzero(),
    "aten.masked_select.default": lambda batch: batch.masked_select(batch > 0),
    "aten.index.Tensor": lambda batch: batch[batch > 0],
    "aten.index_put_.default": lambda batch: batch.clone().__setitem__(batch > 0, torch.tensor(1.0)),
    "aten.linalg_inv_ex.default": lambda batch: torch.linalg.inv(batch[0]),
    "aten._linalg_svd.default": lambda batch: torch.linalg.svdvals(batch[0]),
}


@pytest.mark.parametrize("name", ASKS)
def test_a_network_that_waits_for_values_is_not_recorded(name):
    network, recorder, shown = Reads(ASKS[name]), WrittenDown(), batches(4)
    replayed = replayed_as_plainly(network, recorder, shown)
    assert (replayed.form, recorder.replays) == ("plain", 0)
    assert replayed.reason.startswith("it waits for values of its device (")


@pytest.mark.parametrize(
    "ask",
    [
        lambda batch: batch[torch.tensor([1, 0])],
        lambda batch: batch.clone().__setitem__(torch.tensor([1, 0]), torch.tensor(1.0)),
        lambda batch: torch.nn.functional.normalize(batch),
        lambda batch: torch.tensor([1.0]),
    ],
)
def test_what_stays_on_the_device_does_not_wait(ask):
    network = Reads(ask)
    with Waits() as waits:
        network(batches(1)[0])
    assert not waits.found


@pytest.mark.parametrize(
    "make",
    [
        lambda value: torch.tensor([1.0, 2.0], device=value.device),
        lambda value: torch.as_tensor([1.0, 2.0], device=value.device),
        lambda value: value.new_tensor([1.0, 2.0]),
    ],
)
def test_numbers_of_python_on_a_device_count_as_waits(make):
    with Waits() as waits:
        make(torch.empty(3, device="meta"))
    assert waits.found == "aten.lift_fresh.default"


@pytest.mark.parametrize(
    ("copy", "name"),
    [
        (lambda value: value.cpu(), "aten._to_copy.default"),
        (lambda value: value.copy_(torch.ones(3)), "aten.copy_.default"),
        (lambda value: value * 2, ""),
    ],
)
def test_copies_between_devices_count_as_waits(copy, name):
    with FakeTensorMode(allow_non_fake_inputs=True):
        value = torch.empty(3, device="cuda")
        with Waits() as waits:
            copy(value)
    assert waits.found == name


def never(function):
    raise RuntimeError("operation not permitted when\nstream is capturing")


def test_what_fails_in_recording_runs_plainly():
    network, recorder, shown = small(), WrittenDown(), batches(4)
    recorder.record = never
    replayed = replayed_as_plainly(network, recorder, shown)
    assert replayed.reason == "recording failed (RuntimeError: operation not permitted when stream is capturing)"


def test_a_recording_that_gives_other_values_is_not_used():
    network, shown = small(), batches(4)
    layers = layers_of(network)

    def without_activation(calls):
        return [call for call in calls if "relu" not in str(call[0])]

    plain = plainly(network, layers, shown)
    with Capture(network, layers, 4, "cpu") as capture:
        replayed = Replayed(capture, WrittenDown(without_activation))
        for batch, right in zip(shown, plain, strict=True):
            assert torch.equal(replayed(batch), right)
    assert replayed.reason == "a replayed batch gives other values than a plain one"


def test_batches_in_parts_are_not_recorded():
    network, recorder = small(), WrittenDown()
    with Capture(network, layers_of(network), 4, "cpu", pieces=2) as capture:
        replayed = Replayed(capture, recorder)
        for batch in batches(3):
            replayed(batch)
    assert replayed.reason == "its batches run in parts for want of memory"
    assert not recorder.inputs


def test_memory_that_only_recording_lacks_changes_no_plain_batch():
    network, recorder = small(), WrittenDown()
    written = recorder.record

    def short(function):
        capture.pieces = 2  # as a capture does that meets the end of memory
        return written(function)

    recorder.record = short
    with Capture(network, layers_of(network), 4, "cpu") as capture:
        replayed = Replayed(capture, recorder)
        for batch in batches(4):
            replayed(batch)
        assert capture.pieces == 1
    assert replayed.reason == "there is no memory to record it"


def test_graphs_are_recorded_on_a_stream_of_their_own_with_one_pool(monkeypatch):
    graphs, network, shown = Graphs(monkeypatch), small(), batches(4)
    recorder = CudaRecorder("cpu")
    replayed = replayed_as_plainly(network, recorder, shown)
    assert replayed.form == "graph", replayed.reason
    # other threads go on with what a recording would forbid them
    options = {"pool": "pool", "stream": "side", "capture_error_mode": "thread_local"}
    warmed = ["side waits for current", "on side", "end on side", "current waits for side"]
    assert graphs.said == [*warmed, "on side", options, "end on side"]
    assert recorder.input_like(shown[0]) is recorder.input_like(shown[1])
    assert recorder.input_like(shown[0][:2]) is not recorder.input_like(shown[0])


@pytest.mark.parametrize("ended", [False, True])
def test_the_allocator_learns_that_a_failed_recording_is_over(monkeypatch, ended):
    graphs = Graphs(monkeypatch)

    def end(device, pool):
        graphs.said.append(("end", device, pool))
        if ended:  # by the graph itself
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")

    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", end)
    with pytest.raises(RuntimeError, match="capturing"):
        CudaRecorder("cpu").record(lambda: never(None))
    assert graphs.said[-3:] == ["end on side", "reset", ("end", 0, "pool")]


def test_a_pool_is_used_as_long_as_a_graph_holds_it_and_not_after_a_failure(monkeypatch):
    class Graph:
        def reset(self):
            pass

        def replay(self):
            pass

    graphs, handles = Graphs(monkeypatch), iter(range(9))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: next(handles))
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", lambda device, pool: None)
    recorder = CudaRecorder("cpu")

    def pool(function=lambda: None):
        held = recorder.record(function)
        [options] = [said for said in graphs.said[-3:] if isinstance(said, dict)]
        return held, options["pool"]

    (first, one), (second, two) = pool(), pool()
    assert one == two
    with pytest.raises(RuntimeError, match="capturing"):
        recorder.record(lambda: never(None))
    third, three = pool()
    assert three != two, "an allocator may take that of the failed recording to be in use"
    del first, second, third
    _, four = pool()
    assert four not in (two, three), "no graph holds the others"


def test_an_allocator_that_fails_otherwise_is_told(monkeypatch):
    Graphs(monkeypatch)

    def end(device, pool):
        raise RuntimeError("an illegal memory access")

    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", end)
    with pytest.raises(RuntimeError, match="illegal"):
        CudaRecorder("cpu").record(lambda: never(None))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_memory_is_freed_after_a_recording_that_failed():
    def waits():
        torch.ones(3, device="cuda").sum().item()

    recorder, other = CudaRecorder("cuda"), torch.cuda.Stream()
    with pytest.raises(RuntimeError):
        recorder.record(waits)
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    before = torch.cuda.memory_allocated()
    for _ in range(4):
        block = torch.empty(2**20, device="cuda")
        block.record_stream(other)
        del block
        torch.cuda.synchronize()
    torch.empty(1, device="cuda")  # by which the allocator looks at what other streams have used
    assert torch.cuda.memory_allocated() - before <= 2**22


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_graph_on_a_gpu_has_the_bytes_of_plain_batches():
    network = SMALL["resnet"]().eval().cuda()
    shown = [batch.cuda() for batch in batches(4, SIZE)]
    layers = find_layers(network, shown[0][:3])
    plain = [Capture(network, layers, 4, "cuda")(batch).clone() for batch in shown]
    with Capture(network, layers, 4, "cuda") as capture:
        replayed = Replayed(capture, CudaRecorder("cuda"))
        for batch, right in zip(shown, plain, strict=True):
            assert torch.equal(replayed(batch), right)
    assert replayed.form == "graph", replayed.reason
