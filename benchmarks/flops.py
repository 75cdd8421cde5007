"""Operations and activations of one forward pass of every network of the paper: what its time is predicted from.

    python -m benchmarks.flops [--params studies/imagenet.yaml]      # some ten minutes of one core

Counts are those of study.extraction.counting, which the plan of the stage `activations` uses: networks are built
without weights on torch's meta device and run on one picture of the size that their preprocessing makes, under torch's
flop counter: two
operations a multiply-add of every convolution and matrix product, attention included. Norms, activations and pooling are
not counted; they cost time by memory traffic, which goes with the activations: numbers that convolutions and matrix products
write, in 1e6. `depthwise` is the number of depthwise convolutions, with which a network is not compiled in TF32. The table
depends on the roster alone, so it is made once.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.harness import report
from study.errors import StudyError
from study.extraction import counting
from study.log import logger
from study.networks import building
from study.networks.constructors import Constructor
from study.networks.roster import NetworkJob, read_roster, rows_of, with_bases, with_network
from study.params.units import Units
from study.params.whole import load_params
from study.workers.device import Failure
from study.workers.jobs import run_all

if TYPE_CHECKING:
    from torch import nn

NAME = "forward_flops"
COLUMNS = ["model", "input_size", "n_params", "gflop", "mactivations", "depthwise", "reason"]


def operations(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Operations of a forward pass of one picture (C, H, W) on the device on which the model lies.

    Its parameters need no gradients afterwards: the counter follows those of modules that do, even where none are kept.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    model.requires_grad_(False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty((1, *shape), device=device))
    return int(counter.get_total_flops())


@dataclass(frozen=True)
class DepthwiseJob(NetworkJob):
    """Number of depthwise convolutions of a network, which is built without weights."""

    code: Path

    def run(self) -> int:
        import torch

        from interpretability.networks.precision import is_depthwise

        with torch.device("meta"):
            model = building.whole(Constructor.of(self.row, self.code)(), self.row)
        return sum(is_depthwise(module) for module in model.modules())


def table(roster: Path, code: Path, rules: Units) -> pd.DataFrame:
    """One row a network of the roster, without controls and tables; `reason` is empty, or why its operations are not counted."""
    rows = with_network(read_roster(roster))
    whole = with_bases(rows_of(rows))
    found = counting.count_networks([counting.CountJob(row, rules, code) for row in whole])
    depthwise = run_all([DepthwiseJob(row, code) for row in whole], "networks looked at", logger("flops"), on_cpu=True)
    counted = [_counted(*both) for both in zip(found, depthwise, strict=True)]
    return pd.DataFrame(counted).assign(model=rows["name"].tolist()).reindex(columns=COLUMNS)


def _counted(count: counting.NetworkCount | Failure, depthwise: int | Failure) -> dict[str, object]:
    if isinstance(count, Failure):
        return {"reason": count.reason}
    if isinstance(depthwise, Failure):
        return {"reason": depthwise.reason}
    scaled = {"gflop": count["flops"] / 1e9, "mactivations": count["activations"] / 1e6}
    return {**count, **scaled, "depthwise": depthwise, "reason": ""}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("studies/imagenet.yaml"))
    parser.add_argument("--code", type=Path, default=Path("data/external/code"))
    args = parser.parse_args()
    params = load_params(args.params)
    counted = table(Path(params.models.roster), args.code, params.units)
    report(NAME, "Operations of a forward pass of one picture, in 1e9, and activations, in 1e6", counted)
    if (failed := counted.loc[counted["reason"] != "", "model"]).any():
        raise StudyError(
            f"operations of {len(failed)} of {len(counted)} networks cannot be counted: {', '.join(failed)}"
        )


if __name__ == "__main__":
    main()
