"""Files of weights with any bytes, and tables of any tensors."""

import io
import json
import struct

import pytest
import torch
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from interpretability.checkpoints import Wanted, choose_state
from interpretability.weights import load_state, read_content
from tests.helpers.fuzzing import attempt, fuzzed

NETWORK = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
WANTED = Wanted.by(NETWORK)
STATE = NETWORK.state_dict()
PATCHES = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=8), st.integers(0, 8)), min_size=1, max_size=4)


def torch_file(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


WHOLE = [
    save(STATE),
    torch_file({"state_dict": STATE, "epoch": 3, "args": {"lr": 0.1}}),
    torch_file(STATE, _use_new_zipfile_serialization=False),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


def read(path):
    """All that is done with a file of weights, as by a row of a roster and by a similarity."""
    chosen = choose_state(read_content(path), WANTED, path.name)
    NETWORK.load_state_dict(chosen.tensors, strict=False)
    return chosen


@fuzzed(st.sampled_from(WHOLE), PATCHES, st.sampled_from([".safetensors", ".pth"]))
def test_damaged_bytes(folder, whole, patches, suffix):
    for place, patch, cut in patches:
        start = int(place * len(whole))
        whole = whole[:start] + patch + whole[start + cut :]
    path = folder / f"damaged{suffix}"
    path.write_bytes(whole)
    attempt("file of weights, damaged bytes", lambda: read(path))


@fuzzed(st.binary(max_size=200), st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x08\0\0\0\0\0\0\0{", b"<html>"]))
def test_any_bytes(folder, content, beginning):
    path = folder / "any.bin"
    path.write_bytes(beginning + content)
    attempt("file of weights, any bytes", lambda: load_state(path))


NAMES = st.sampled_from([*STATE, *(f"module.{name}" for name in STATE), "__metadata__", "x"]) | st.text(max_size=5)
NUMBERS = st.integers(-2, 40) | st.sampled_from([2**31, 2**62, 2**64]) | st.floats(allow_nan=False) | st.none()
TYPES = st.sampled_from(["F32", "F16", "BF16", "F64", "I64", "U64", "BOOL", "F8_E4M3", "C64", "X", ""])
ENTRIES = st.fixed_dictionaries(
    {"dtype": TYPES, "shape": st.lists(NUMBERS, max_size=5), "data_offsets": st.lists(NUMBERS, min_size=1, max_size=3)}
)


@fuzzed(
    st.dictionaries(NAMES, ENTRIES | NUMBERS, max_size=6), st.integers(0, 64), st.sampled_from([0, 1, -1, 10**9, 2**40])
)
def test_headers_of_safetensors(folder, header, length, lie):
    text = json.dumps(header).encode()
    path = folder / "header.safetensors"
    path.write_bytes(struct.pack("<Q", max(0, len(text) + lie) % 2**64) + text + bytes(length))
    attempt("safetensors, any header", lambda: read(path))


@st.composite
def whole_headers(draw):
    """A safetensors file in which offsets, types and shapes agree."""
    names = draw(st.lists(NAMES, unique=True, max_size=8))
    kinds = draw(st.lists(st.sampled_from(["F32", "F16", "I64", "BOOL", "F64"]), min_size=8, max_size=8))
    header, end = {}, 0
    for name, kind in zip(names, kinds, strict=False):
        shape = draw(
            st.sampled_from([list(value.shape) for value in STATE.values()]) | st.lists(st.integers(0, 3), max_size=3)
        )
        count = int(torch.Size(shape).numel())
        size = count * {"F32": 4, "F16": 2, "I64": 8, "BOOL": 1, "F64": 8}[kind]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


@fuzzed(whole_headers())
def test_whole_safetensors_of_any_tensors(folder, content):
    path = folder / "whole.safetensors"
    path.write_bytes(content)
    attempt("safetensors, any tensors", lambda: read(path))


TENSORS = st.sampled_from(
    [
        *STATE.values(),
        torch.ones(4, 3, 3, 3),
        torch.ones(()),
        torch.ones(0, 3),
        torch.ones(4, dtype=torch.complex64),
        torch.ones(4).half(),
        torch.ones(4).to_sparse(),
        torch.empty(4, device="meta"),
        torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8),
    ]
)
KEYS = st.sampled_from([*STATE, "module", "student", "a.b", "_extra_state"]) | st.text(max_size=4) | st.integers(0, 2)
LEAVES = TENSORS | st.none() | st.integers() | st.text(max_size=3)
FULL = st.sampled_from(["", "module.", "student.", "teacher.", "a.b.c.", "."]).map(
    lambda prefix: {f"{prefix}{name}": value for name, value in STATE.items()}
)
CONTENTS = st.recursive(
    LEAVES | FULL, lambda inner: st.dictionaries(KEYS, inner, max_size=5) | st.lists(inner, max_size=3), max_leaves=12
)


@fuzzed(
    CONTENTS, FULL, st.dictionaries(st.sampled_from(list(STATE)), LEAVES, max_size=2), st.text(max_size=4) | st.just("")
)
def test_tables_of_any_form(content, full, changed, choice):
    attempt("tables, any form", lambda: choose_state(content, WANTED, "w.pth", choice))
    for near in ({**full, **changed}, {"model": {**full, **changed}, "rest": content}):
        chosen = attempt("tables, nearly right", lambda near=near: choose_state(near, WANTED, "w.pth", choice))
        if chosen is not None:
            NETWORK.load_state_dict(chosen.tensors, strict=False)
