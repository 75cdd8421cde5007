"""What it costs to encode every position of a layer by a sparse code, beside a forward pass.

    python -m benchmarks.codes [--network vit_base_patch16_224] [--layer blocks.7.mlp.fc2] [--batch 4] [--rounds 7] [--threads 1]

Per width of the code the network runs alone, and with the layer read by a code: ReLU and TopK 32, over all tokens and over the
class token. Forms take turns on the same batch, a new one every round. Weights of network and code are random and images are
noise, which changes no operation. Before the clock starts, a reader's values are compared with those of the formula at every
position of the first image. `work` is the share of the code's operations in those of the network, counted: what no
implementation can save.

Aims on one core, all tokens: a ratio of at most 1.25 with 16,384 latents and 1.08 with 4,096; read `cpu_ratio` where others use
the machine. Measured: 1.14 to 1.17, and 1.04.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from benchmarks.capture import opened, pictures
from benchmarks.flops import operations
from benchmarks.harness import ratios, report, take_turns
from interpretability.directions.codes import Code
from interpretability.directions.encoding import encode
from interpretability.directions.readers import CodeReader
from interpretability.networks.capture import Capture
from interpretability.randomness import generator
from study.workers.device import keep_memory

SEED = 0
LATENTS, K = (4096, 16384), 32
TOLERANCE = 1e-4  # of pooled latents, relative to the largest


def drawn_code(width: int, latents: int, activation: str, tokens: str) -> Code:
    """A code with random rows over standardised positions, of whose latents ReLU leaves a sixth active."""
    draw = generator(SEED, "benchmark", "code", latents)
    rows = torch.from_numpy(draw.standard_normal((latents, width), dtype="float32")) / width**0.5
    k = K if activation == "topk" else 0
    return Code(
        encoder=rows, bias=torch.full((latents,), -1.0), activation=activation, k=k, tokens=tokens, scaling="layer_norm"
    )


def checked(code: Code, maps: torch.Tensor) -> float:
    """Largest relative error of pooled latents; raises where it is too large."""
    found, expected = CodeReader(code)(maps), encode(code, maps[:, :1] if code.tokens == "class" else maps).mean(dim=1)
    if not float((expected > 0).float().mean()) > 0:
        raise AssertionError(f"no latent of a code of {len(code.encoder)} is active, so nothing is compared")
    error = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))
    if not error <= TOLERANCE:
        raise AssertionError(f"pooled latents of a code of {len(code.encoder)} are off by {error:.1e}")
    return error


def measure(args: argparse.Namespace) -> list[dict[str, object]]:
    """One row a code."""
    device = torch.device("cpu")
    model, size, layers = opened(args.network, device)
    batch = pictures(args.network, 0, args.batch, size, device)
    (layer,) = [one for one in layers if one.name == args.layer]
    positions: list[torch.Tensor] = []

    def note(_: torch.nn.Module, __: object, out: torch.Tensor) -> None:
        positions.append(out)

    hook = model.get_submodule(layer.module).register_forward_hook(note)
    with torch.no_grad():
        model(batch[:1])
    hook.remove()
    flops = operations(model, (3, size, size))
    rows: list[dict[str, object]] = []
    for latents in args.latents:
        for activation, tokens in (("relu", "all"), ("topk", "all"), ("topk", "class")):
            code = drawn_code(layer.width, latents, activation, tokens)
            error = checked(code, positions[0])
            read = Capture(model, [layer], args.batch, device, readers={layer.name: CodeReader(code)})
            given = [batch]

            def plain(given: list[torch.Tensor] = given) -> None:
                with torch.no_grad():
                    model(given[0])

            def coded(read: Capture = read, given: list[torch.Tensor] = given) -> None:
                read(given[0])

            forms: dict[str, Callable[[], object]] = {"plain": plain, "coded": coded}
            for work in forms.values():
                work()
            turns = []
            for turn in range(args.rounds):
                given[0] = pictures(args.network, turn + 1, args.batch, size, device)
                turns.append(take_turns(forms, turn))
            counted = 1 if tokens == "class" else positions[0].shape[1]
            rows.append(
                {
                    "network": args.network,
                    "layer": layer.name,
                    "latents": latents,
                    "activation": activation,
                    "tokens": tokens,
                    "threads": args.threads,
                    "batch": args.batch,
                    "plain_s": min(float(turn["plain"][0]) for turn in turns),
                    "coded_s": min(float(turn["coded"][0]) for turn in turns),
                    **ratios([turn["coded"] for turn in turns], [turn["plain"] for turn in turns]),
                    "work": 2 * counted * layer.width * latents / flops,
                    "error": error,
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="vit_base_patch16_224", help="a name of timm")
    parser.add_argument("--layer", default="blocks.7.mlp.fc2")
    parser.add_argument("--latents", type=int, nargs="+", default=LATENTS)
    for name, default in (("batch", 4), ("rounds", 7), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_memory()
    report("codes", f"codes of {args.layer} beside a forward pass, {args.threads} thread", measure(args))


if __name__ == "__main__":
    main()
