"""How a network runs its batches: which are compiled, what is recorded, and that whatever fails runs plainly and says so."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from interpretability.networks import compiled
from interpretability.networks.capture import Capture
from interpretability.networks.layers import find_layers
from study.extraction import compiling, forward
from study.extraction.forward import Forward
from study.networks import forms
from tests.helpers.recordings import WrittenDown

ROW = {"name": "net", "directions": ""}
BATCHES = list(torch.randn((4, 4, 3, 8, 8), generator=torch.Generator().manual_seed(3)))


def as_it_is(graph, arguments):
    return graph


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1)).eval()


@pytest.fixture
def seat(monkeypatch, tmp_path):
    """A network that is to be compiled, by a compiler that leaves everything as it is."""
    monkeypatch.setenv("MIS_STORE", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    init = compiled.Compiled.__init__
    monkeypatch.setattr(
        compiled.Compiled, "__init__", lambda *args, **options: init(*args, **{"compiler": as_it_is, **options})
    )
    model = network()
    layers = find_layers(model, BATCHES[0][:3], drop_first_last=False)
    read = SimpleNamespace(layers=layers)
    return SimpleNamespace(name="net", model=model, read=read, precision="float32", shared={"compiled": True})


def not_compiled(seat):
    return SimpleNamespace(**{**vars(seat), "shared": {}})


def run(seat, recorder=None, state=None, n_batches=100, batches=BATCHES):
    """Values of all batches, and the form at the end with its state."""
    plain = [Capture(seat.model, seat.read.layers, 4, "cpu", shortcut=False)(batch).clone() for batch in batches]
    with Capture(seat.model, seat.read.layers, 4, "cpu") as capture:
        runs = Forward(capture, seat, recorder, n_batches, state)
        for batch, right in zip(batches, plain, strict=True):
            torch.testing.assert_close(runs(batch), right, rtol=1e-5, atol=1e-6)
        form, state = runs.form, runs.state()
        runs.close()
    return form, state


def fails(*args):
    raise OSError("no compiler\nhere")


def test_a_network_runs_compiled_where_it_is_to_be(seat):
    form, state = run(seat, WrittenDown())
    assert form == "compiled"
    assert {name: value.tolist() for name, value in state.items()} == {"compiled": [1]}
    assert run(seat, state=state)[0] == "compiled"


def test_what_cannot_be_compiled_runs_plainly_and_goes_on_so(seat, monkeypatch, caplog):
    whole = compiled.Compiled.__init__
    monkeypatch.setattr(compiled.Compiled, "__init__", lambda *args, **options: whole(*args, compiler=fails, **options))
    form, state = run(seat)
    assert form == "plain"
    said = "net runs without compiling: the network cannot be compiled (OSError: no compiler here)"
    assert said in caplog.messages
    monkeypatch.setattr(compiled.Compiled, "__init__", whole)
    assert run(seat, state=state)[0] == "plain"  # one arithmetic for all images, though it could be compiled now


def test_a_compiled_run_that_cannot_be_compiled_again_says_so(seat, monkeypatch):
    _, state = run(seat)
    monkeypatch.setattr(compiled.Compiled, "__init__", fails)
    form, state = run(seat, state=state)
    assert form == "compiled in part"
    assert run(seat, WrittenDown(), state=state)[0] == "compiled in part"


def test_compiled_values_that_are_wrong_are_not_used(seat, monkeypatch, caplog):
    call = compiled.Compiled.__call__
    monkeypatch.setattr(compiled.Compiled, "__call__", lambda self, batch: call(self, batch) + 0.5)
    assert run(seat)[0] == "plain"
    assert any("compiled values are off by" in message for message in caplog.messages)


def test_compiled_batches_without_memory_go_on_in_parts(seat, monkeypatch, caplog):
    call, calls = compiled.Compiled.__call__, []

    def short(self, batch):
        calls.append(batch)
        if len(calls) > 2:  # the comparison, and one batch
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(self, batch)

    monkeypatch.setattr(compiled.Compiled, "__call__", short)
    form, state = run(seat)
    assert (form, len(calls)) == ("compiled in part", 3)
    assert "net goes on without compiling: the device ran out of memory" in caplog.messages
    assert run(seat, state=state)[0] == "compiled in part"
    assert len(calls) == 3


def test_other_errors_of_compiled_batches_are_raised(seat, monkeypatch):
    call, calls = compiled.Compiled.__call__, []

    def broken(self, batch):
        calls.append(batch)
        if len(calls) > 2:
            raise RuntimeError("an illegal memory access")
        return call(self, batch)

    monkeypatch.setattr(compiled.Compiled, "__call__", broken)
    with pytest.raises(RuntimeError, match="illegal"):
        run(seat)


def test_a_network_whose_batches_run_in_parts_is_not_compiled(seat, caplog):
    with Capture(seat.model, seat.read.layers, 4, "cpu", pieces=2) as capture:
        runs = Forward(capture, seat, None, 100)
        runs(BATCHES[0])
        assert runs.form == "plain"
    assert "net runs without compiling: its batches run in parts for want of memory" in caplog.messages


def test_batches_that_compile_or_record_are_told_apart(seat):
    def prepares(seat, recorder):
        with Capture(seat.model, seat.read.layers, 4, "cpu") as capture:
            runs = Forward(capture, seat, recorder, 100)
            found = []
            for batch in BATCHES:
                found.append(runs.prepares)
                runs(batch)
            return found

    assert prepares(seat, WrittenDown()) == [True, False, False, False]
    assert prepares(not_compiled(seat), WrittenDown()) == [False, True, False, False]
    assert prepares(not_compiled(seat), None) == [False] * 4


def test_files_name_a_form_that_changes_numbers_only():
    assert [forms.written(form) for form in ("plain", "graph", "compiled", "compiled in part")] == [
        *("", ""),
        *("compiled", "compiled in part"),
    ]


def test_recording_is_told_by_form_and_leaves_no_state(seat):
    assert run(not_compiled(seat), WrittenDown()) == ("graph", {})
    assert run(not_compiled(seat), WrittenDown(), n_batches=3) == ("plain", {})
    assert run(not_compiled(seat)) == ("plain", {})


def test_what_cannot_be_recorded_is_told_once(seat, caplog):
    recorder = WrittenDown()
    recorder.record = fails
    assert run(not_compiled(seat), recorder) == ("plain", {})
    told = [message for message in caplog.messages if "CUDA graph" in message]
    assert told == ["net runs without a CUDA graph: recording failed (OSError: no compiler here)"]


def test_a_network_that_is_to_be_compiled_and_cannot_is_recorded(seat, monkeypatch):
    monkeypatch.setattr(compiled.Compiled, "__init__", fails)
    form, state = run(seat, WrittenDown())
    assert form == "graph"
    assert state["compiled"].tolist() == [0]


def test_nothing_is_recorded_on_a_cpu_or_where_it_is_switched_off(monkeypatch):
    assert forward.recorder() is None
    monkeypatch.setattr(forward, "device", lambda: "cuda:0")
    monkeypatch.setenv("MIS_CUDA_GRAPHS", "off")
    assert forward.recorder() is None


def extraction(**changes):
    settings = SimpleNamespace(compile=changes.pop("compile", "long"), precision=changes.pop("precision", "float16"))
    params = SimpleNamespace(activations=settings, units=None)
    return SimpleNamespace(row={**ROW, **changes}, params=params, code=None)


def test_long_passes_are_compiled(monkeypatch):
    flops = {"net": 100e9, "short": 1e9}
    monkeypatch.setattr(compiling.CountJob, "run", lambda job: {"flops": flops[job.row["name"]], "activations": 1e6})
    assert compiling.is_compiled(extraction(), 1_281_167, "NVIDIA H200")
    assert not compiling.is_compiled(extraction(), 1_281_167, "cpu")
    assert not compiling.is_compiled(extraction(), 50_000, "NVIDIA H200")
    assert not compiling.is_compiled(extraction(name="short"), 1_281_167, "NVIDIA H200")
    assert not compiling.is_compiled(extraction(compile="none"), 1_281_167, "NVIDIA H200")
    assert not compiling.is_compiled(extraction(directions="file.safetensors"), 1_281_167, "NVIDIA H200")
    # what cannot be counted is not compiled
    assert not compiling.is_compiled(extraction(name="unknown"), 1_281_167, "NVIDIA H200")


def test_a_pass_is_longer_in_a_slower_precision():
    seconds = [compiling.pass_seconds(10e9, 20e6, 1_281_167, precision) for precision in compiling.OPERATIONS]
    assert seconds == sorted(seconds, reverse=True)
    at = compiling.LONGER * compiling.SECONDS / 2
    flops, activations = at * compiling.OPERATIONS["tf32"], at * compiling.NUMBERS["tf32"]
    assert compiling.is_long(flops * 1.001, activations, 1, "tf32")
    assert not compiling.is_long(flops, activations * 0.999, 1, "tf32")
