"""Files of codes and of foreign autoencoders with any bytes, settings and tensors."""

import io
import json
import struct
from dataclasses import replace

import pytest
import torch
from hypothesis import strategies as st
from safetensors.torch import save

from interpretability.directions.checks import AXES, WORDS, check_code
from interpretability.directions.codes import Code
from interpretability.directions.files import KEYS, read_code, write_code
from study.networks.foreign_codes.options import Options
from tests.helpers.foreign_codes import CASES, LATENTS, WIDTH
from tests.helpers.fuzzing import attempt, fuzzed
from tools.convert_code import KINDS, OPTIONS

M, D = 3, 2
TENSORS = {name: torch.ones([{"latents": M, "width": D}[axis] for axis in axes]) for name, axes in AXES.items()}
SETTINGS = {"format": 1, "activation": "topk", "k": 2, "decoder_norm": "before", "tokens": "patches", "layer": "a"}
WHOLE = save({name: TENSORS[name] for name in ("encoder", "bias", "decoder")}, {"code": json.dumps(SETTINGS)})
PATCHES = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=8), st.integers(0, 8)), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("codes")


def tried(reader, folder, content):
    """What is read obeys all checks, and comes back from a file of its own."""
    path = folder / "any.safetensors"
    path.write_bytes(content)
    code = attempt(reader, lambda: read_code(path))
    if code is not None:
        check_code(code)
        write_code(code, folder / "again.safetensors")
        again = read_code(folder / "again.safetensors")
        assert all(getattr(code, key) == getattr(again, key) for key in KEYS)


@fuzzed(PATCHES)
def test_damaged_bytes(folder, patches):
    whole = WHOLE
    for place, patch, cut in patches:
        start = int(place * len(whole))
        whole = whole[:start] + patch + whole[start + cut :]
    tried("codes, damaged bytes", folder, whole)


VALUES = (
    st.sampled_from([word for words in WORDS.values() for word in words])
    | st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.floats()
    | st.text(max_size=6)
    | st.lists(st.integers(), max_size=2)
)
ENTRIES = st.dictionaries(st.sampled_from([*KEYS, *KEYS, "format", "new", ""]), VALUES, max_size=3)
NUMBERS = st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool])
SHAPES = st.sampled_from([(M, D), (M,), (D,), (D, M), (), (0, D), (1, 1, 1)])
CHANGES = st.dictionaries(
    st.sampled_from([*AXES, "other"]),
    st.none() | st.tuples(SHAPES, NUMBERS, st.sampled_from([0.0, 1.0, float("nan"), -float("inf"), 1e300])),
    max_size=2,
)


@fuzzed(ENTRIES, CHANGES, st.booleans())
def test_any_settings_and_tensors(folder, entries, changes, bare):
    tensors = {"encoder": TENSORS["encoder"], "decoder": TENSORS["decoder"]}
    for name, change in changes.items():
        tensors.pop(name, None)
        if change is not None:
            shape, kind, value = change
            tensors[name] = (
                torch.full(shape, value, dtype=torch.float64).nan_to_num(0 if kind == torch.int64 else None).to(kind)
            )
    entry = entries if bare else SETTINGS | entries
    tried("codes, any settings and tensors", folder, save(tensors, {"code": json.dumps(entry)}))


@fuzzed(st.text(max_size=30) | st.text(alphabet='{}[]":,0123456789eE.-nul \\', max_size=40))
def test_any_text_for_settings(folder, text):
    tried("codes, any text for settings", folder, save({"encoder": TENSORS["encoder"]}, {"code": text}))


@fuzzed(st.binary(max_size=200), st.integers(0, 2**16))
def test_any_header(folder, content, length):
    tried("codes, any header", folder, struct.pack("<Q", length) + b"{" + content)


@fuzzed(
    st.fixed_dictionaries(
        {},
        optional={
            **{name: st.sampled_from(words) | st.text(max_size=3) for name, words in WORDS.items()},
            **{name: st.none() | st.just(TENSORS[name]) | st.just(torch.ones(5)) for name in AXES if name != "encoder"},
            "k": st.integers(-1, 4) | st.booleans() | st.floats(),
            "factor": st.floats() | st.none(),
            "n_prefix": st.integers(-1, 9),
        },
    )
)
def test_any_fields(folder, fields):
    code = replace(Code(encoder=TENSORS["encoder"]), **fields)
    attempt("codes, any fields", lambda: write_code(code, folder / "fields.safetensors"))


CONFIG = st.recursive(
    VALUES,
    lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=6,
)
CONFIG_KEYS = st.sampled_from(
    [
        "architecture",
        "k",
        "normalize_activations",
        "metadata",
        "activation_fn",
        "activation_fn_str",
        "activation_fn_kwargs",
        "apply_b_dec_to_input",
        "hook_name",
        "hook_point_layer",
        "layer_subtype",
        "trainer",
        "cls_token_only",
        "is_transcoder",
    ]
)
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "class": st.sampled_from(["TopKSAE", "SAE", "BatchTopKSAE", "AutoEncoderTopK", "x"]),
        "k": st.integers(-2, 40),
        "threshold": st.floats(),
        "factor": st.floats(),
        "layer": st.text(max_size=5),
        "n_prefix": st.integers(-2, 5),
        "decoder_norm": st.sampled_from(["none", "after"]),
    },
)
NAMES = ["W_enc", "b_enc", "W_dec", "b_dec", "threshold", "encoder.weight"]
NEW = st.dictionaries(
    st.sampled_from(NAMES) | st.text(max_size=4),
    st.sampled_from(
        [torch.ones(LATENTS), torch.ones(WIDTH, LATENTS), torch.ones(()), torch.ones(0), torch.ones(2).to_sparse()]
    ),
    max_size=3,
)


@fuzzed(st.sampled_from(CASES), st.dictionaries(CONFIG_KEYS, CONFIG, max_size=3), GIVEN, PATCHES | st.just([]), NEW)
def test_foreign_files(tmp_path_factory, case, config, given, patches, new):
    folder = tmp_path_factory.mktemp("foreign")
    path = case.write(folder)
    for name in ("cfg.json", "config.json"):
        if config and (folder / name).is_file():
            (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | config))
    weights = next(each for each in folder.iterdir() if each.suffix != ".json")
    if new and weights.suffix == ".pt":
        buffer = io.BytesIO()
        torch.save(new, buffer)
        weights.write_bytes(buffer.getvalue())
    content = weights.read_bytes()
    for place, patch, cut in patches:
        start = int(place * len(content))
        content = content[:start] + patch + content[start + cut :]
    weights.write_bytes(content)
    options = Options(dict.fromkeys(OPTIONS) | case.options | given)
    found = attempt(f"foreign codes, {case.kind}", lambda: KINDS[case.kind](path, options))
    if found is not None:
        check_code(found.code)
