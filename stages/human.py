"""Answers of people to the tasks: none, recorded ones, or those of simulated observers, always called simulated.

Reads   data/tasks, data/models/roster.csv, the factors in data/images (simulated), tables in data/external/human (imi and
        table), data/external/models/imi_names.csv (imi)
Writes  data/human: responses.parquet, units.parquet, truth.parquet (simulated only), exclusions.csv, and what became of
        the IMI record: crosstab.csv (experiment by model by mode), verdicts.csv (checks recomputed against stored),
        checks.csv (values that the checks look at), unmatched.csv (networks and layers that this study does not have)
Run     dvc repro human
        python -m stages.human --list-units FILE      writes the annotated units, for activations.keep_file
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import pyarrow as pa

from interpretability.people import human_scores
from study.command import run
from study.files.tables import fresh_folder, write_csv, write_parquet
from study.log import logger
from study.networks import unit_lists
from study.networks.roster import read_roster
from study.params.whole import load_params
from study.people import recorded_answers
from study.people.answers_simulated import UNIT, simulated_answers

log = logger("human")


RESPONSES = pa.schema(
    [
        *(*UNIT, ("task", pa.int16()), ("participant", pa.string()), ("correct", pa.bool_())),
        # 1 (low) to 3 (high), null where it was not asked
        *(("confidence", pa.int8()), ("source", pa.string())),
    ]
)
UNITS = pa.schema(
    [*UNIT, ("n_responses", pa.int64()), ("his", pa.float64()), ("his_se", pa.float64()), ("source", pa.string())]
)
TRUTH = pa.schema([*UNIT, ("p_true", pa.float64())])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--external", type=Path, default=Path("data/external/human"))
    parser.add_argument("--tasks", type=Path, default=Path("data/tasks"))
    parser.add_argument("--images", type=Path, default=Path("data/images"))
    parser.add_argument("--roster", type=Path, default=Path("data/models/roster.csv"))
    parser.add_argument("--names", type=Path, default=Path("data/external/models/imi_names.csv"))
    parser.add_argument("--out", type=Path, default=Path("data/human"))
    parser.add_argument("--list-units", type=Path, help="write the annotated units, one a line, and stop")
    args = parser.parse_args(argv)
    params = load_params(args.params)
    if args.list_units:
        units = recorded_answers.annotated_units(params.human, args.external, args.names)
        n_units = unit_lists.write_list(args.list_units, units)
        log.info("%s: %d units", args.list_units, n_units)
        return
    source = params.human.source
    answers, truth = [RESPONSES.empty_table().to_pandas()], [TRUTH.empty_table().to_pandas()]
    record = recorded_answers.Recorded(answers[0])
    if source == "imi":
        roster = read_roster(args.roster)["name"].tolist()
        record = recorded_answers.from_imi(params.human, args.external, args.tasks, args.names, roster)
    if source == "table":
        record = recorded_answers.from_table(params.human, args.external)
    answers.append(record.answers.assign(source=source))
    if source == "simulated":
        for answered, true in simulated_answers(params, args.tasks, args.images, args.roster):
            answers.append(answered.assign(confidence=pd.array([pd.NA] * len(answered), dtype="Int8"), source=source))
            truth.append(true)
    responses = pd.concat(answers, ignore_index=True)
    out = fresh_folder(args.out)
    write_parquet(out / "responses.parquet", responses[RESPONSES.names], RESPONSES)
    units = human_scores.human_scores(responses).assign(source=source)
    write_parquet(out / "units.parquet", units[UNITS.names], UNITS)
    write_parquet(out / "truth.parquet", pd.concat(truth, ignore_index=True), TRUTH)
    for name in ("exclusions", "checks", "crosstab", "verdicts", "unmatched"):
        write_csv(out / f"{name}.csv", getattr(record, name))
    people = responses["participant"].nunique()
    log.info("source %s: %d answers of %d people to %d units", source, len(responses), people, len(units))


if __name__ == "__main__":
    run(main)
