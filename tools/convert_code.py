"""Convert a sparse autoencoder of another library into a file that a roster's column `directions` takes.

Only tensors and settings are read; no code of the file or of the library is run. What the file does not say is asked for, and
what cannot be converted exactly is refused; docs/directions.md lists both.

KIND    saelens              folder with cfg.json and sae_weights.safetensors
        overcomplete         file of a state dict; --class, and --k or --threshold as the class needs
        dictionary_learning  folder with ae.pt and config.json, also of sae-for-vlm; --class without config.json
        vit_prisma           folder with n_images_N.pt and config.json
INPUT   that folder, or the file of weights in it
OUTPUT  ends in .safetensors

Run     python -m tools.convert_code saelens downloads/vit-b-16-layer-7 data/external/codes/layer7.safetensors
        python -m tools.convert_code overcomplete topk.pth topk.safetensors --class TopKSAE --k 32 --layer blocks.7
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from interpretability.directions.checks import WORDS
from interpretability.directions.codes import Code
from interpretability.directions.files import SUFFIX, write_code
from study.command import parser, run
from study.errors import StudyError
from study.networks.foreign_codes import dictionary_learning, overcomplete, saelens, vit_prisma
from study.networks.foreign_codes.contents import Converted
from study.networks.foreign_codes.options import Options

KINDS: dict[str, Callable[[Path, Options], Converted]] = {
    "saelens": saelens.convert,
    "overcomplete": overcomplete.convert,
    "dictionary_learning": dictionary_learning.convert,
    "vit_prisma": vit_prisma.convert,
}
OPTIONS = ("layer", "tokens", "n_prefix", "class", "k", "threshold", "factor", "apply_b_dec", "decoder_norm")


def main(argv: list[str] | None = None) -> None:
    given = vars(_line().parse_args(argv))
    output: Path = given["output"]
    if output.suffix != SUFFIX:
        raise StudyError(f"{output}: the name of the file to write must end in {SUFFIX}")
    options = Options({name: given[name] for name in OPTIONS})
    converted = KINDS[given["kind"]](given["input"], options)
    write_code(converted.code, output)
    for line in [*described(converted.code, output), *(f"Note: {note}" for note in converted.notes)]:
        print(line)


def described(code: Code, output: Path) -> list[str]:
    """What was found, and what a row of a roster would say."""
    latents, width = code.encoder.shape
    activation = {
        "topk": f"topk, k {code.k}, {'relu, then the largest' if code.order == 'relu_topk' else 'the largest, then relu'}",
        "jumprelu": f"jumprelu, {code.comparison} threshold",
    }.get(code.activation, code.activation)
    scaling = f"{code.scaling} {code.factor:g}" if code.scaling == "factor" else code.scaling
    behind = f" behind the first {code.n_prefix}" if code.tokens == "patches" else ""
    return [
        code.source,
        f"{latents:,} latents over a width of {width:,}; {activation}; decoder norm {code.decoder_norm}",
        f"scaling of the input {scaling}; pre-bias {'yes' if code.pre_bias is not None else 'no'}; "
        f"decoder {'yes' if code.decoder is not None else 'no'}; tokens {code.tokens}{behind}",
        f"written to {output}. In a roster: directions {code.layer or 'LAYER'}={output}, or "
        f"{code.layer or 'LAYER'}@max={output} for the maximum over positions",
    ]


def _line() -> argparse.ArgumentParser:
    line = parser(__doc__)
    line.add_argument("kind", choices=KINDS, metavar="KIND")
    line.add_argument("input", type=Path, metavar="INPUT")
    line.add_argument("output", type=Path, metavar="OUTPUT")
    line.add_argument("--layer", help="name of the layer in the network of the roster, such as blocks.7")
    line.add_argument("--tokens", choices=WORDS["tokens"], help="positions of a transformer that count")
    line.add_argument(
        "--n-prefix", type=int, help="tokens before those of patches (1: a class token; 5: with 4 registers)"
    )
    line.add_argument("--class", help="class that wrote the file, where several have the same tensors")
    line.add_argument("--k", type=int, help="latents that are kept, where the file does not say")
    line.add_argument("--threshold", type=float, help="threshold of a BatchTopK, where the file does not say")
    line.add_argument(
        "--factor",
        type=float,
        help="what inputs are multiplied by, for expected_average_only_in; 1 if it is in the weights",
    )
    line.add_argument(
        "--apply-b-dec",
        action="store_true",
        default=None,
        help="JumpReluAutoEncoder of dictionary_learning: b_dec is subtracted from the input",
    )
    line.add_argument(
        "--decoder-norm",
        choices=("none", "after"),
        help="AutoEncoder and GatedAutoEncoder of dictionary_learning: whether values are times the decoder's norms",
    )
    return line


if __name__ == "__main__":
    run(main)
