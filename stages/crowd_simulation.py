"""The crowd paper's simulations of ratings: errors by sampler, aggregation and budget, fronts and costs, ours beside them.

Reads   nothing but parameters
Writes  data/crowd_simulation: curves.parquet, a row a world, part, method and budget; pareto.parquet, the best number of
        raters of each budget; costs.parquet, the ratings at which a method reaches crowd_simulation.levels. All simulated
Run     dvc repro crowd_simulation
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from interpretability.explanations.fronts import LATENT, REFERENCE
from study.command import arguments, run
from study.crowd.simulation import tables
from study.files.tables import fresh_folder, write_parquet
from study.log import logger
from study.params.crowd_simulation import CrowdSimulation
from study.params.parts import Price
from study.params.reading import load

log = logger("crowd_simulation")

TEXT = ("world", "part", "method", "sampler", "aggregation", "estimator", "errors", "errors_assumed")
WHOLE = ("budget", "raters", "images", "n_units", "n_draws")
TYPES: dict[str, pa.DataType] = {
    **{name: pa.string() for name in TEXT},
    **{name: pa.int64() for name in WHOLE},
    **{name: pa.bool_() for name in ("front", "at_most", "simulated")},
}
LOGGED = (REFERENCE, LATENT)


@dataclass(frozen=True, kw_only=True)
class CrowdSimulationParams:
    """What the simulations depend on."""

    seed: int
    processor: str
    crowd_simulation: CrowdSimulation
    crowd: Price


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, folders=("params", "out"))
    params = load(args.params, CrowdSimulationParams)
    found = tables(params.crowd_simulation, params.crowd.price, params.seed)
    out = fresh_folder(args.out)
    for name, table in found.items():
        schema = pa.schema([(column, TYPES.get(column, pa.float64())) for column in table.columns])
        write_parquet(out / f"{name}.parquet", table, schema)
    costs = found["costs"]
    if not params.crowd_simulation.worlds:
        log.info("no worlds: crowd_simulation.worlds is empty")
        return
    reached = (costs["part"] == "setting_1") & costs["method"].isin(LOGGED) & costs["ratings"].notna()
    for row in costs[reached].to_dict("records"):
        log.info("%(world)s, %(method)s: at most %(ratings).0f ratings a unit for an error of %(level)g", row)


if __name__ == "__main__":
    run(main)
