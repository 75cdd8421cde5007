"""Simulated observers answer the tasks of some units."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from interpretability.margins import cosine_margins
from interpretability.schema import KEY
from interpretability.synthetic import observers
from interpretability.synthetic.factors import factor_vectors
from study.errors import StudyError
from study.files.tables import read_json, read_parquet
from study.log import logger
from study.networks.roster import read_roster
from study.params.human import Human

log = logger("human")

_OF_UNIT = ["layer", "unit"]


@dataclass(frozen=True, kw_only=True)
class AnswerParams:
    """What the answers of people depend on."""

    seed: int
    processor: str
    human: Human


def simulated_answers(
    params: AnswerParams, tasks: Path, images: Path, roster: Path
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Answers and true probabilities, one pair a studied network that has tasks and condition of these.

    The units of harder conditions are those of the natural one that have such tasks.
    """
    settings, factors = params.human.simulated, images / "factors.parquet"
    if not factors.is_file():
        raise StudyError(
            f"human.source is simulated, but {factors} does not exist: simulated observers see the factors of "
            "generated scenes. Set images.source to generated, or human.source to none"
        )
    try:
        ignored = (settings.ignored_factor,) if settings.ignored_factor else ()
        vectors = factor_vectors(read_parquet(factors), ignore=ignored)
    except ValueError as error:
        raise StudyError(f"human.simulated.ignored_factor is {settings.ignored_factor!r}: {error}") from None
    population = observers.Population(settings.slope, settings.slope_spread, settings.lapse)
    n_explanations = read_json(tasks / "summary.json")["n_explanations"]
    table = read_roster(roster)
    studied = table[(table["role"] == "study") & (table["last"] == 1)]["name"]
    parts = []
    for model in (name for name in studied if (tasks / f"{name}.parquet").is_file()):
        units = read_parquet(tasks / f"{model}.parquet", KEY)
        natural = units[units["condition"] == "natural"]
        chosen = natural.iloc[observers.choose_units(natural["layer"], settings.n_units, params.seed, model)]
        arrays = np.load(tasks / f"{model}.npy", mmap_mode="r")
        for condition in units["condition"].unique():
            asked = units.reset_index().merge(chosen[_OF_UNIT], on=_OF_UNIT).query("condition == @condition")
            if asked.empty:
                log.info("%s: none of the annotated units has tasks of condition %s", model, condition)
                continue
            margins = cosine_margins(vectors, arrays[asked.pop("index")], n_explanations)
            asked = asked.reset_index(drop=True)
            # each condition is an experiment of its own, with other people (IMI); fewer units are fewer trials a person
            experiment = model if condition == "natural" else f"{model}_{condition}"
            n_trials = settings.n_trials if condition == "natural" else min(settings.n_trials, len(asked))
            answers = observers.simulate_responses(
                margins, population, settings.n_responses, n_trials, params.seed, experiment
            )
            answered = asked.iloc[answers.pop("unit")].reset_index(drop=True)
            truth = asked.assign(p_true=observers.true_probabilities(margins, population))
            parts.append((pd.concat([answered, answers], axis=1), truth))
    return parts
