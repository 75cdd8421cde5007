"""Digests of what the kernels of a portable process compute, and which kernels they are.

A program of its own: `python -m tests.helpers.kernel_hashes PARTS` prints them as JSON, so that it can run with other variables
set, or on an emulated processor.

    basic     products, exponentials, solvers, roots, our compiled kernels, one step of a small network, directions and sparse
              codes, small pictures: quick to load, and without numpy's sorting, in which emulators have faults
    networks  two training steps of each network of the embedded study, and DISTS' kernel
    chosen    what took effect: torch's instructions, OpenBLAS's processor, numpy's features, numba's target

Optimizers of torch load its compiler before their first step, which computes nothing here and takes minutes on an emulated
processor; with `--no-compiler` they do without.

`python -m tests.helpers.kernel_hashes --write` makes kernel_hashes.json anew, which a new version of a package may call for.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import sys
import types
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from study.environment import one_thread, portable

one_thread()
if not portable():
    sys.exit("this processor has no AVX2 and FMA")

import numpy as np  # noqa: E402 - after the kernels were chosen
import torch  # noqa: E402
from torch import nn  # noqa: E402

from tests.helpers.rules import ROOT  # noqa: E402

RECORDED = Path(__file__).with_suffix(".json")
PACKAGES = ("numba", "numpy", "pillow", "scipy", "timm", "torch")
SIZE, BATCH, N_CLASSES = 64, 8, 24


def digest(*arrays: Any) -> str:
    """Of the bytes of arrays or tensors, 16 hex digits."""
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(
            np.ascontiguousarray(array.detach().numpy() if isinstance(array, torch.Tensor) else array).tobytes()
        )
    return whole.hexdigest()[:16]


def generator(name: str) -> np.random.Generator:
    return np.random.default_rng(list(name.encode()))


def normal(name: str, *shape: int) -> torch.Tensor:
    return torch.from_numpy(generator(name).standard_normal(shape, dtype=np.float32))


def basic() -> Iterator[tuple[str, str]]:
    from scipy.special import expit

    from interpretability import margins
    from interpretability.similarity.roots import root
    from interpretability.synthetic import factor_reading

    x, y = normal("x", 70, 300), normal("y", 300, 90)
    wide = generator("wide").standard_normal(20_011)
    yield "torch product", digest(x @ y)
    yield "torch linear", digest(nn.functional.linear(x, y.T.contiguous(), normal("bias", 90)))
    yield "torch softmax", digest(x.softmax(dim=1), x.log_softmax(dim=1))
    yield "torch exp, log", digest(x.exp(), x.abs().log(), torch.erf(x))
    yield "torch svd", digest(torch.linalg.svd(x[:40, :30])[1])
    yield "numpy product", digest(x.numpy() @ y.numpy())
    yield "numpy exp", digest(np.exp(wide))
    yield "numpy log, power, arctanh", digest(np.log(np.abs(wide)), np.abs(wide) ** 0.3, np.arctanh(np.tanh(wide)))
    yield "numpy float32 exp", digest(np.exp(wide.astype(np.float32)))
    yield "scipy expit", digest(expit(wide))
    design = generator("design").standard_normal((400, 60))
    yield "numpy lstsq", digest(np.linalg.lstsq(design, wide[:400], rcond=None)[0])
    reading = factor_reading.fit_reading(margins.unit_rows(design), generator("factors").standard_normal((400, 25)), 0)
    yield "factors read from embeddings", digest(reading.weights, reading.read(margins.unit_rows(design)))
    yield "roots", digest(root(normal("roots", 100, 3000).abs()))
    rows = margins.unit_rows(normal("rows", 60, 515).numpy())
    tasks = (
        generator("tasks").permuted(np.tile(np.arange(60, dtype=np.int32), (40, 1)), axis=1)[:, :20].reshape(10, 4, 20)
    )
    kernels = (margins.cosine_margins, margins.nearest_explanation, margins.cosine_values, margins.distance_margins)
    for kernel in (*kernels, margins.distance_values):
        yield f"numba {kernel.__name__}", digest(kernel(rows, tasks, 9))
    yield "one step", step_of_small_network()
    yield "made pictures", digest(*made_pictures())
    yield "pictures of the page", digest(np.frombuffer(sheet_of_page(), np.uint8))
    yield from directions()


def sheet_of_page() -> bytes:
    """A sheet of small pictures as the report embeds it: Pillow and libwebp choose their kernels by processor, too."""
    from PIL import Image

    from study.report.page.thumbnails import encoded

    rng = generator("sheet")
    blocks = rng.integers(20, 236, (20, 32, 3)).repeat(16, axis=0).repeat(16, axis=1)
    return encoded(Image.fromarray((blocks + rng.integers(-20, 20, blocks.shape)).astype(np.uint8)))


def directions() -> Iterator[tuple[str, str]]:
    """What layers are read in: bases, a sparse code trained until latents have long been silent, and inference."""
    from interpretability.directions import built_in
    from interpretability.directions.encoding import encode
    from interpretability.synthetic.sparse_autoencoder import train_autoencoder
    from interpretability.synthetic.sparse_inference import infer_features

    features = np.maximum(generator("features").standard_normal((64, 48)) - 1, 0)
    values = features @ built_in.random_directions(0, "layer", 24, 48).T
    yield "rotation", digest(built_in.rotation(0, "layer", 96))
    yield "principal components", digest(built_in.principal(values))
    code = train_autoencoder(values, 192, 2, steps=15, batch_size=64)
    yield "trained code", digest(code.encoder, code.bias, code.pre_bias, code.decoder)
    yield "encoded", digest(encode(code, torch.from_numpy(values.astype(np.float32))))
    yield "sparse inference", digest(infer_features(values, built_in.random_directions(0, "layer", 24, 48).T, steps=50))


def step_of_small_network() -> str:
    """Weights after one step of convolutions of every kind, norms, linear layers and attention."""
    from interpretability.synthetic import training

    torch.manual_seed(0)
    body = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 16, 7, padding=3, groups=16), nn.GELU(), nn.Conv2d(16, 24, 1), nn.SiLU()),
        *(nn.Flatten(2), Turned(), nn.LayerNorm(24), nn.TransformerEncoderLayer(24, 2, 48, 0.0, batch_first=True)),
        *(nn.Linear(24, 32), nn.GELU(), nn.Flatten(), nn.Linear(32 * (SIZE // 4) ** 2, N_CLASSES)),
    )
    return trained(body, training.train, "small", steps=1)


def made_pictures() -> Iterator[Any]:
    """Bytes and values of pictures made for a unit, by all that takes part: FFT, resampling, Adam, diversity, values."""
    from interpretability.networks.layers import Layer
    from interpretability.networks.preprocessing import Preprocessing
    from interpretability.visualisations.making import make_images
    from interpretability.visualisations.settings import MAX, MIN, Natural, Settings
    from interpretability.visualisations.target import Target

    torch.manual_seed(1)
    body = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 1)),
        *(nn.Conv2d(24, 24, 7, padding=3, groups=24), nn.GELU(), nn.Conv2d(24, 40, 3, stride=2)),
    ).eval()
    layer = Layer("6", "Conv", 0, 0.0, 40, "6", 0, "output", 0, 1)
    prepare = Preprocessing(SIZE, SIZE, (0.48, 0.45, 0.4), (0.22, 0.22, 0.22))
    with Target(body, layer, 3, prepare) as target:
        for side, diversity in ((MAX, 0.0), (MIN, 1.0)):
            settings = Settings(n_images=4, steps=4, rate=0.1, diversity=diversity)
            made = make_images(target, Natural(0.0, -0.1, 0.1), side, settings, 3)
            yield made.pixels
            yield made.values
            yield np.array([made.kept_after_shift, made.alike, made.stop_ratio, made.gradient])


class Turned(nn.Module):
    """Tokens (batch, places, channels) of channels (batch, channels, places)."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.transpose(1, 2)


def trained(model: nn.Module, train: Callable[..., Any], name: str, steps: int) -> str:
    """Digest of the weights after some steps."""
    draw = generator(name)
    pixels = draw.integers(0, 256, (steps * BATCH, SIZE, SIZE, 3), dtype=np.uint8)
    targets = draw.integers(0, N_CLASSES, (steps * BATCH, 1))
    *_, (_, state) = train(
        *(model, pixels, targets, [N_CLASSES]), epochs=1, batch_size=BATCH, learning_rate=0.004, seed=0, name=name
    )
    return digest(*(state[key] for key in sorted(state)))


def networks() -> Iterator[tuple[str, str]]:
    from interpretability.networks.network import initialised
    from interpretability.similarity.backends import dists
    from interpretability.synthetic import training
    from study.networks import building, roster

    for row in roster.rows_of(roster.read_roster(ROOT / "data/external/models/synthetic.csv")):
        if row["weights"] != "trained":
            continue
        row["kwargs"] = json.dumps({**json.loads(row["kwargs"] or "{}"), "num_classes": N_CLASSES})
        model = building.build_network(
            row, ROOT / "data/external/code", None, lambda construct, name=row["name"]: initialised(construct, 0, name)
        )
        yield f"training {row['name']}", trained(model, training.train, row["name"], steps=2)
    edges = dists.Dists._edges(SIZE)
    n = len(edges) - 1
    rows = normal("dists", 6, int(edges[-1]) + 2 * n).abs().numpy()
    weights, out = np.abs(generator("alpha, beta").standard_normal((2, n))), np.empty((1, 1, 2, 4), dtype=np.float32)
    dists._values(rows, np.arange(6, dtype=np.int32).reshape(1, 1, 6), 2, edges, weights, out)
    yield "numba dists", digest(out)


def chosen() -> Iterator[tuple[str, str]]:
    """What took effect, whatever the variables say."""
    import numba
    from numpy._core._multiarray_umath import __cpu_features__ as features

    yield "torch", torch.backends.cpu.get_cpu_capability()
    library = next(Path(np.__file__).parents[1].glob("numpy.libs/libscipy_openblas64_*.so"))
    name = ctypes.CDLL(str(library)).scipy_openblas_get_corename64_
    name.restype = ctypes.c_char_p
    yield "OpenBLAS", name().decode()
    yield "numpy", "no X86_V4" if not features.get("X86_V4") else "X86_V4"
    yield "numba", f"{numba.config.CPU_NAME} {numba.config.CPU_FEATURES!r}"


PARTS: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {"basic": basic, "networks": networks, "chosen": chosen}


def leave_compiler_out() -> None:
    """Stand in for what torch itself says to its compiler: to leave an optimizer alone, and to be reproducible."""
    compiler: Any = types.ModuleType("torch._dynamo")
    compiler.disable = lambda function, *_, **__: function
    compiler.graph_break = lambda *_, **__: None
    inductor: Any = types.ModuleType("torch._inductor")
    inductor.config = types.ModuleType("torch._inductor.config")
    modules = {module.__name__: module for module in (compiler, inductor, inductor.config)}
    sys.modules.update(modules)
    torch._dynamo, torch._inductor = compiler, inductor


def main() -> None:
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("parts", nargs="*", choices=[*PARTS, []])
    line.add_argument("--write", action="store_true")
    line.add_argument("--no-compiler", action="store_true")
    args = line.parse_args()
    if args.no_compiler:
        leave_compiler_out()
    torch.set_num_threads(1)
    if args.write:
        found: dict[str, Any] = {"versions": {name: version(name) for name in PACKAGES}}
        found |= {part: dict(PARTS[part]()) for part in PARTS}
        RECORDED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    else:
        print(json.dumps({part: dict(PARTS[part]()) for part in args.parts}))


if __name__ == "__main__":
    main()
