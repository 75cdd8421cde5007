"""How well any score could agree with the people whose answers are at hand.

Reads   data/human (units, answers by task, true shares of simulated observers), data/mis/units.parquet
Writes  data/ceiling/ceiling.parquet
Run     dvc repro ceiling

Answers that observers gave through the encoder take no part.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.dataset as ds

from interpretability.people.annotated import unscored, with_people
from interpretability.people.ceiling import ceiling_table
from interpretability.people.noise import noise_within_tasks
from interpretability.schema import KEY
from study.command import arguments, run
from study.files import sources
from study.files.tables import fresh_folder, read_parquet, write_parquet
from study.log import logger
from study.params.ceiling import Ceiling
from study.params.parts import Backends, Confidence
from study.params.reading import load

log = logger("ceiling")

_TYPES = {
    "is_ceiling": pa.bool_(),
    "leads": pa.bool_(),
    "calibrated": pa.bool_(),
    "n_units": pa.int64(),
    "n_simulations": pa.int64(),
}
_TEXT = ("subset", "backend", "variant")


@dataclass(frozen=True, kw_only=True)
class CeilingParams:
    """What the ceiling depends on."""

    seed: int
    processor: str
    ceiling: Ceiling
    scores: Backends
    stats: Confidence


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, folders=("params", "human", "mis", "out"))
    params = load(args.params, CeilingParams)
    people = sources.counted(read_parquet(args.human / "units.parquet"))
    rows = ds.field("model").isin(pa.array(people["model"].unique(), pa.string()))
    scores = (
        ds.dataset(args.mis / "units.parquet").to_table([*KEY, "backend", "mis", "mis_se"], filter=rows).to_pandas()
    )
    if missing := unscored(scores, people):
        log.warning("%s", missing)
    units = with_people(scores, people, params.scores.backends)
    answers = read_parquet(args.human / "responses.parquet")
    noise = noise_within_tasks(answers)
    for known in (noise, read_parquet(args.human / "truth.parquet")):
        units = units.merge(known, on=KEY, how="left")
    table = ceiling_table(units, params.seed, params.ceiling.n_simulations, params.stats.confidence, answers)
    kinds = {name: pa.string() if name in _TEXT else _TYPES.get(name, pa.float64()) for name in table.columns}
    write_parquet(fresh_folder(args.out) / "ceiling.parquet", table, pa.schema(list(kinds.items())))
    for row in table[table["leads"].astype(bool)].to_dict("records"):
        log.info("%(subset)s: %(variant)s leads, %(mean).3f over %(n_units)d units", row)


if __name__ == "__main__":
    run(main)
