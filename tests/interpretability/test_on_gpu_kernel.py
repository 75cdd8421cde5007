"""The kernel of the selection on a GPU: the results of plain operations in Triton's interpreter, and code for the cards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
import torch

triton = pytest.importorskip("triton")

OFFER = textwrap.dedent(
    """
    import json, sys, warnings
    import numpy as np, torch
    warnings.simplefilter("ignore")
    from triton.runtime.interpreter import InterpreterBuilder
    from interpretability.extremes import kernel, on_gpu
    from interpretability.extremes.moments import Moments
    from interpretability.extremes.selection import Extremes, NotFinite

    kernel.TILE, kernel.ROWS = 128, 8  # a program of the interpreter takes as long for many units as for few
    on_gpu._FILLING = 8
    units, k, batch = 70, 2, 22
    rng = np.random.default_rng(0)
    kinds = {kind: slice(units * i, units * (i + 1)) for i, kind in enumerate(("normal", "rounded", "zeros"))}
    width = units * len(kinds)
    keys = rng.integers(2**64, size=width, dtype=np.uint64)
    found = {}

    def offered(values):
        selection = on_gpu.DeviceSelection(keys, k, "cpu", kernel=True)
        for first in range(0, len(values), batch):
            selection.update(torch.from_numpy(values[first : first + batch]), first)
        return selection

    def drawn(kind, n):
        values = rng.normal(size=(n, units)).astype(np.float32)
        values[:, 1] *= np.float32(1e-42)  # subnormal
        values[:, 2] *= np.float32(1e37)
        if kind == "rounded":
            values = np.round(values, 1)
        return np.maximum(values - np.float32(1.645), 0) if kind == "zeros" else values

    values = np.concatenate([drawn(kind, 66) for kind in kinds], axis=1)
    selection, extremes, moments = offered(values), Extremes(keys, k), Moments(width)
    for first in range(0, len(values), batch):
        part = values[first : first + batch]
        extremes.update(part, np.arange(first, first + len(part)))
        moments.update(part)
    mine = [*(side.T for side in selection.keys()), selection.bins, selection.nonpositive]
    theirs = [*(side.T for side in extremes.keys()), moments.bins, moments.nonpositive]
    for kind, here in kinds.items():
        same = [bool(np.array_equal(one[..., here], other[..., here])) for one, other in zip(mine, theirs)]
        found[kind] = dict(zip(("top", "bottom", "bins", "nonpositive"), same)) | {"bounds chose": bool(selection._merged_at)}

    for name, bad, image in (("nan", np.nan, 2), ("inf", np.inf, 40), ("-inf", -np.inf, 43)):
        values = np.tile(drawn("zeros", 44), len(kinds))
        values[image, width - 1] = bad
        values[43, width - (2 if image < 43 else 1) :] = np.nan if image < 43 else bad
        try:
            offered(values).check()
        except NotFinite as error:
            found[name] = [error.image, error.unit, str(error.value)]

    # what masks of loads and stores let through, late: 64 batches of images behind the bounds
    moved = [0]
    for name, value_at in (("create_masked_load", 1), ("create_masked_store", 2)):
        def counted(self, pointers, *rest, _usual=getattr(InterpreterBuilder, name), _at=value_at):
            through = np.broadcast_to(rest[_at - 1].data, pointers.data.shape)
            moved[0] += np.count_nonzero(through) * pointers.get_element_ty().primitive_bitwidth // 8
            return _usual(self, pointers, *rest)
        setattr(InterpreterBuilder, name, counted)
    kernel.ROWS = 16
    values = rng.normal(size=(128 * 256, width)).astype(np.float32)
    extremes = Extremes(keys, k)
    extremes.update(values, np.arange(len(values)))
    selection = on_gpu.DeviceSelection(keys, k, "cpu", kernel=True, state=extremes.keys(), n_images=len(values))
    selection.update(torch.from_numpy(values[:256] * np.float32(0.99)), len(values))
    found["bytes a value"] = moved[0] / (256 * width)
    json.dump(found, sys.stdout)
    """
)


@pytest.fixture(scope="module")
def found():
    done = subprocess.run(
        [sys.executable, "-c", OFFER],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["normal", "rounded", "zeros"])
def test_lists_sums_and_shares_are_those_of_the_cpu(found, kind):
    assert found[kind] == {"top": True, "bottom": True, "bins": True, "nonpositive": True, "bounds chose": True}


def test_the_first_bad_value_is_named(found):
    assert [found[name] for name in ("nan", "inf", "-inf")] == [[2, 209, "nan"], [40, 209, "inf"], [43, 209, "-inf"]]


def test_a_late_value_costs_less_than_six_bytes(found):
    assert 4 < found["bytes a value"] <= 6


@pytest.mark.parametrize("batch", [None, 5, 9], ids=["right", "wrong once bounds choose", "wrong at the end"])
def test_a_kernel_is_used_that_gives_what_plain_operations_give(batch, monkeypatch):
    """Also where its errors begin once bounds choose, and after all units have been merged again."""
    from interpretability.extremes import held, kernel, on_gpu

    starts = []

    def offer(state, values, first):
        starts.append(bool((state.bounds[0] > -np.inf).all()))
        if len(starts) - 1 == batch:
            assert starts[-1], "not all values are let in any more"
            values = values.clone()
            values[7, 3] = 9  # would lead a list
        held.offer(state, values, first, None)

    monkeypatch.setattr(kernel, "offer", offer)
    on_gpu._runs.cache_clear()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert on_gpu._runs(torch.device("cpu")) == (batch is None)
    on_gpu._runs.cache_clear()
    assert [str(one.message).rpartition(": ")[2] for one in told] == (
        [] if batch is None else ["its results are wrong there"]
    )
    assert starts.count(False) == 4
    assert starts.count(True) == 6


TYPES = {
    **dict.fromkeys(("values", "bounds"), "*fp32"),
    **dict.fromkeys(("low_keys", "high_keys", "counts"), "*i32"),
    **dict.fromkeys(("slots", "bound_keys", "bins", "nonpositive", "status"), "*i64"),
    **dict.fromkeys(("row_stride", "n_rows", "first", "n_units", "n_slots"), "i32"),
    **dict.fromkeys(("TILE", "ROWS"), "constexpr"),
}


@pytest.mark.parametrize("generation", [80, 90])
def test_the_kernel_compiles_for_a_card(generation, monkeypatch, tmp_path):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from interpretability.extremes import kernel

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    types = {name: TYPES[name] for name in kernel.offer_tile.arg_names}
    source = ASTSource(kernel.offer_tile, types, {"TILE": kernel.TILE, "ROWS": kernel.ROWS})
    made = triton.compile(source, target=GPUTarget("cuda", generation, 32), options={"num_warps": 1})
    assert len(made.asm["cubin"]) > 1000
    assert ".ftz" not in made.asm["ptx"], "a subnormal value would count as zero"
    assert made.metadata.shared == 0, "units of a program wait for nothing but themselves"
