"""Fit the slope of every backend to the answers of people on a split of the annotated units.

Reads   data/scores/BACKEND.parquet of every backend in scores.backends, data/human (units, and answers for their noise)
Writes  data/calibration: slope.json, curve.parquet (loss against slope), split.parquet (units of the fit),
        splits.parquet (what calibration.n_splits other random splits would have given); made.json (slopes of tasks with made
        images, where there are such tasks: they have slopes of their own)
Run     dvc repro calibration

slope.json says of every slope whether the answers tell it (`identified`, with a reason). Without human answers every
backend gets calibration.default_slope and says so. Annotated units that this study does not score take no part, nor do
tasks that mis.drop_near_duplicates leaves out, nor, but for made.json, answers that observers gave through the encoder.
"""

from __future__ import annotations

import pandas as pd

from interpretability.people.noise import noise_within_tasks
from interpretability.schema import KEY, MADE
from study.command import arguments, run
from study.files import sources
from study.files.tables import fresh_folder, read_parquet, write_json, write_parquet
from study.params.reading import load
from study.people.fitting import CalibrationParams, fit_slopes, scored_units
from study.people.fitting_made import fit_made


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, folders=("params", "scores", "human", "out"))
    params = load(args.params, CalibrationParams)
    answered = read_parquet(args.human / "units.parquet")
    people = sources.counted(answered)
    people = people[~people["condition"].isin(MADE)].reset_index(drop=True)
    people = people.merge(noise_within_tasks(read_parquet(args.human / "responses.parquet")), on=KEY, how="left")
    people = scored_units(people, args.scores / f"{params.scores.backends[0]}.parquet")
    fit = fit_slopes(params, args.scores, people)
    made = fit_made(params, args.scores, answered, fit.slopes)
    out = fresh_folder(args.out)
    write_json(out / "slope.json", fit.slopes)
    write_parquet(out / "curve.parquet", fit.curves)
    write_parquet(out / "split.parquet", pd.concat([fit.split, made.split], ignore_index=True))
    write_parquet(out / "splits.parquet", fit.splits)
    if made.slopes:
        write_json(out / "made.json", made.slopes)


if __name__ == "__main__":
    run(main)
