"""The worked example of README.md, as a stranger follows it: its commands, and what stands for the two downloads."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from interpretability.synthetic import scenes
from interpretability.synthetic.draws import draw_factors

HEADING = "## Score your own network in five minutes"
PICTURES = "pictures"  # the folder that studies/custom.yaml names
_SIZE = 96  # side of a picture in pixels


def commands(readme: str) -> list[str]:
    """The commands of the first block of shell below the heading, a text that is read to its END with the command that reads it.

    Raises ValueError where there is no such block.
    """
    found = re.search(rf"^{re.escape(HEADING)}$.*?^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"README.md has no block of sh below {HEADING!r}")
    lines, whole = iter(found[1].splitlines()), []
    for line in lines:
        command = [line]
        if mark := re.search(r"<<(\w+)", line):
            while command[-1] != mark[1]:
                command.append(next(lines))
        if line.strip():
            whole.append("\n".join(command))
    return whole


def without_download(steps: Sequence[str], checkpoint: Path) -> tuple[list[str], str]:
    """The commands with the one that fetches the checkpoint replaced by a copy of `checkpoint`; and where it is put.

    Raises ValueError unless just one command fetches anything.
    """
    fetching = [place for place, step in enumerate(steps) if step.startswith("curl ")]
    if len(fetching) != 1:
        raise ValueError(f"{len(fetching)} commands of the example begin with curl, there must be one")
    [place] = fetching
    target = re.search(r" -o (\S+)", steps[place])
    if target is None:
        raise ValueError(f"{steps[place]!r} does not say with -o where the checkpoint goes")
    instead = f"mkdir -p {Path(target[1]).parent} && cp {checkpoint} {target[1]}"
    return [*steps[:place], instead, *steps[place + 1 :]], target[1]


def use_similarity(study: Path, name: str) -> None:
    """Make one similarity that of studies/custom.yaml in a copy of the repository, in place of those that are named there."""
    path = study / "studies/custom.yaml"
    text, n = re.subn(r"(?m)^(  backends:.*\n)(?:  - .*\n)+", rf"\g<1>  - {name}\n", path.read_text())
    if n != 1:
        raise ValueError(f"{path} has {n} lists of scores.backends")
    path.write_text(text)


def write_pictures(folder: Path, n: int) -> None:
    """Drawn scenes as JPEG files."""
    folder.mkdir()
    factors = draw_factors(n, seed=1, stream="first steps", n_categories=24)
    for number, pixels in enumerate(scenes.render(factors, _SIZE)):
        Image.fromarray(np.asarray(pixels)).save(folder / f"{number:04d}.jpg", quality=90)


def save_checkpoint(path: Path) -> None:
    """The network of the example with random weights, in the form of its published file."""
    import torch
    import torchvision

    torch.manual_seed(0)
    torch.save(torchvision.models.mobilenet_v3_small(weights=None).state_dict(), path)


def follow(study: Path, steps: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run commands as one script that ends at the first which fails."""
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(steps)],
        cwd=study,
        env=dict(environment),
        capture_output=True,
        text=True,
    )
