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

import numpy as np
import pandas as pd
import pyarrow as pa

from stages import recorded
from stages.errors import StudyError
from stages.pipeline import networks, unit_lists
from stages.pipeline.log import logger, run
from stages.pipeline.params import Params, load_params
from stages.pipeline.tables import KEY, fresh_folder, read_json, read_parquet, write_csv, write_parquet
from stages.science import observers, scenes, scoring

log = logger("human")
_UNIT = [("model", pa.string()), ("layer", pa.string()), ("unit", pa.int64()), ("condition", pa.string())]
_OF_UNIT = ["layer", "unit"]
RESPONSES = pa.schema(
    [
        *(*_UNIT, ("task", pa.int16()), ("participant", pa.string()), ("correct", pa.bool_())),
        # 1 (low) to 3 (high), null where it was not asked
        *(("confidence", pa.int8()), ("source", pa.string())),
    ]
)
UNITS = pa.schema(
    [*_UNIT, ("n_responses", pa.int64()), ("his", pa.float64()), ("his_se", pa.float64()), ("source", pa.string())]
)
TRUTH = pa.schema([*_UNIT, ("p_true", pa.float64())])


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
        units = recorded.annotated_units(params.human, args.external, args.names)
        n_units = unit_lists.write_list(args.list_units, units)
        log.info("%s: %d units", args.list_units, n_units)
        return
    source = params.human.source
    answers, truth = [RESPONSES.empty_table().to_pandas()], [TRUTH.empty_table().to_pandas()]
    record = recorded.Recorded(answers[0])
    if source == "imi":
        roster = networks.read_roster(args.roster)["name"].tolist()
        record = recorded.from_imi(params.human, args.external, args.tasks, args.names, roster)
    if source == "table":
        record = recorded.from_table(params.human, args.external)
    answers.append(record.answers.assign(source=source))
    if source == "simulated":
        for answered, true in _simulate(params, args.tasks, args.images, args.roster):
            answers.append(answered.assign(confidence=pd.array([pd.NA] * len(answered), dtype="Int8"), source=source))
            truth.append(true)
    responses = pd.concat(answers, ignore_index=True)
    out = fresh_folder(args.out)
    write_parquet(out / "responses.parquet", responses[RESPONSES.names], RESPONSES)
    units = observers.human_scores(responses).assign(source=source)
    write_parquet(out / "units.parquet", units[UNITS.names], UNITS)
    write_parquet(out / "truth.parquet", pd.concat(truth, ignore_index=True), TRUTH)
    for name in ("exclusions", "checks", "crosstab", "verdicts", "unmatched"):
        write_csv(out / f"{name}.csv", getattr(record, name))
    people = responses["participant"].nunique()
    log.info("source %s: %d answers of %d people to %d units", source, len(responses), people, len(units))


def _simulate(params: Params, tasks: Path, images: Path, roster: Path) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Answers and true probabilities, one pair a studied network that has tasks and condition of these.

    The units of harder conditions are those of the natural one that have such tasks.
    """
    given, factors = params.human.simulated, images / "factors.parquet"
    if not factors.is_file():
        raise StudyError(
            f"human.source is simulated, but {factors} does not exist: simulated observers see the factors of "
            "generated scenes. Set images.source to generated, or human.source to none"
        )
    try:
        ignored = (given.ignored_factor,) if given.ignored_factor else ()
        vectors = scenes.factor_vectors(read_parquet(factors), ignore=ignored)
    except ValueError as error:
        raise StudyError(f"human.simulated.ignored_factor is {given.ignored_factor!r}: {error}") from None
    population = observers.Population(given.slope, given.slope_spread, given.lapse)
    n_explanations = read_json(tasks / "summary.json")["n_explanations"]
    table = networks.read_roster(roster)
    studied = table[(table["role"] == "study") & (table["last"] == 1)]["name"]
    found = []
    for model in (name for name in studied if (tasks / f"{name}.parquet").is_file()):
        units = read_parquet(tasks / f"{model}.parquet", KEY)
        natural = units[units["condition"] == "natural"]
        chosen = natural.iloc[observers.choose_units(natural["layer"], given.n_units, params.seed, model)]
        arrays = np.load(tasks / f"{model}.npy", mmap_mode="r")
        for condition in units["condition"].unique():
            asked = units.reset_index().merge(chosen[_OF_UNIT], on=_OF_UNIT).query("condition == @condition")
            if asked.empty:
                log.info("%s: none of the annotated units has tasks of condition %s", model, condition)
                continue
            margins = scoring.cosine_margins(vectors, arrays[asked.pop("index")], n_explanations)
            asked = asked.reset_index(drop=True)
            # each condition is an experiment of its own, with other people (IMI); fewer units are fewer trials a person
            experiment = model if condition == "natural" else f"{model}_{condition}"
            n_trials = given.n_trials if condition == "natural" else min(given.n_trials, len(asked))
            answers = observers.simulate_responses(
                margins, population, given.n_responses, n_trials, params.seed, experiment
            )
            answered = asked.iloc[answers.pop("unit")].reset_index(drop=True)
            truth = asked.assign(p_true=observers.true_probabilities(margins, population))
            found.append((pd.concat([answered, answers], axis=1), truth))
    return found


if __name__ == "__main__":
    run(main)
