"""What is compiled while a GPU is at an earlier pass, and that the pass that needs it finds it."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace

import pytest
from torch._dynamo.utils import counters

from study.extraction import compiled_ahead, compiling, extract, job, passes
from study.extraction.compiled_ahead import AheadJob

CODE = """
from torch import nn

def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1), nn.Flatten())
"""


def counted_pass(extractions):
    """Results of a pass, all of whose networks are compiled, and what the compiler counted."""
    job.is_compiled = lambda *_: True
    return passes.extract(extractions), dict(counters["inductor"])


@pytest.fixture
def asked(drawn_study, monkeypatch):
    """Call to run the activations of one network, which is compiled, and give what the pass was asked for and its facts.

    The pass has a process of its own: kernels hang on settings of torch that other tests here may have switched.
    """
    drawn_study.roster({"name": "net", "constructor": "small:network", "kwargs": "{}"})
    (drawn_study.code / "small.py").write_text(CODE)
    drawn_study.run_models()
    monkeypatch.setattr(job, "is_compiled", lambda *_: True)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(drawn_study.folder / "compiled"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # kernels for a CPU hang on the number of threads

    def run(before=lambda extraction: None):
        seen = []

        def noted(extractions):
            before(extractions[0])
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
                found, counted = alone.submit(counted_pass, extractions).result()
            seen.append((found[0], counted))
            return found

        monkeypatch.setattr(passes, "extract", noted)
        drawn_study.run_activations()
        return seen[0]

    return run


def test_a_pass_finds_what_another_process_has_compiled(asked):
    told = []

    def ahead(extraction):
        with compiled_ahead.compiled_ahead([extraction]):
            told.extend(multiprocessing.active_children())
            told[0].join()

    found, counted = asked(ahead)
    assert told[0].exitcode == 0
    assert found.form == "compiled"
    assert (counted.get("fxgraph_cache_hit"), counted.get("fxgraph_cache_miss", 0)) == (1, 0)


def test_a_network_that_cannot_be_compiled_ahead_stops_nothing(asked, caplog, monkeypatch):
    monkeypatch.setattr(compiled_ahead, "start", lambda *_: None)  # in this process

    def ahead(extraction):
        broken = SimpleNamespace(name="net", row={**extraction.row, "constructor": "nowhere:network"})
        broken = SimpleNamespace(**{**vars(extraction), **vars(broken)})
        compiled_ahead._make((broken,), "cpu", None, 0)

    found, _ = asked(ahead)
    assert "net could not be compiled ahead of its pass: " in caplog.text
    assert found.layers


def test_an_error_of_the_pass_ends_the_process_at_once(asked):
    left, took = [], []

    def interrupted(extraction):
        with compiled_ahead.compiled_ahead([extraction]):
            left.extend(multiprocessing.active_children())
            raise KeyboardInterrupt

    def ahead(extraction):
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            interrupted(extraction)
        took.append(time.monotonic() - began)

    asked(ahead)
    [process] = left
    assert process.exitcode is not None
    assert took[0] < compiling.SECONDS / 2


def test_nothing_begins_where_nothing_is_to_be_compiled(monkeypatch):
    monkeypatch.setattr(compiled_ahead, "multiprocessing", None)
    with compiled_ahead.compiled_ahead(()):
        pass


def test_a_worker_compiles_for_the_pass_that_it_will_probably_take_next(monkeypatch):
    monkeypatch.setattr(compiling, "devices", lambda: ["cuda:0", "cuda:1"])
    monkeypatch.setattr(compiling, "kind_of_workers", lambda: "NVIDIA H200")
    monkeypatch.setattr(compiling, "is_compiled", lambda one, n, kind: kind == "NVIDIA H200" and one in "adef")
    shared = [["a", "b"], ["c"], ["d", "e", "g"], ["f"], ["h"]]
    assert [compiling.of_later_pass(shared, index, 9) for index in range(5)] == [("d", "e"), ("f",), (), (), ()]
    monkeypatch.setattr(compiling, "devices", lambda: ["cpu"])
    assert compiling.of_later_pass(shared, 0, 9) == ()


def test_jobs_carry_what_is_compiled_meanwhile(drawn_study, monkeypatch):
    drawn_study.roster({"name": "net"}, {"name": "other"})
    drawn_study.run_models()
    jobs = []
    monkeypatch.setattr(
        compiling, "of_later_pass", lambda shared, index, n: tuple(shared[index + 1]) if not index else ()
    )
    monkeypatch.setattr(extract, "_run", lambda given, ended: jobs.extend(given) or [])
    drawn_study.params(activations__max_failed=1.0)
    drawn_study.run_activations()
    first, second = jobs
    assert [one.name for one in first.ahead] == [one.name for one in second.extractions]
    assert second.ahead == ()
    assert AheadJob(first.ahead[0]).name == second.name
