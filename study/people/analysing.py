"""What people answered to an exported folder of questions, group by group."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from interpretability import schema
from interpretability.design import intervention
from interpretability.schema import KEY
from study.files.tables import write_csv
from study.people import questions

RESPONSE_COLUMNS = [*KEY, "task", "participant", "correct", "confidence", "source"]


@dataclass(frozen=True)
class Analysis:
    """groups: `intervention.GROUP_COLUMNS`, tests: `intervention.TEST_COLUMNS`, answers: RESPONSE_COLUMNS; each with a column
    source, people or simulated."""

    groups: pd.DataFrame
    tests: pd.DataFrame
    answers: pd.DataFrame
    source: str
    confidence: float

    def write(self, out: Path) -> None:
        """groups.csv, tests.csv and answers.csv in a new folder."""
        with questions.new_folder(out) as folder:
            write_csv(folder / "groups.csv", self.groups)
            write_csv(folder / "tests.csv", self.tests)
            write_csv(folder / "answers.csv", self.answers)

    def told(self) -> str:
        """The tables in words and numbers, as the command line prints them."""
        simulated = self.source == questions.SIMULATED
        title = "Simulated answers: no person gave them." if simulated else "Answers of people."
        tables = "\n\n".join(_shown(table) for table in (self.groups, self.tests) if len(table))
        pairs = self.groups[["model", "condition"]].drop_duplicates().itertuples(index=False, name=None)
        verdicts = [
            f"{model}, {condition}: "
            + _verdict(self.tests[(self.tests["model"] == model) & (self.tests["condition"] == condition)])
            for model, condition in pairs
        ]
        return "\n".join(
            [
                f"{title} Shares of right answers, groups of units; intervals of {100 * self.confidence:g} %\n",
                tables + "\n",
                *verdicts,
            ]
        )


def analyse(answers: Path, study: Path, confidence: float = 0.95, n_bootstrap: int = 2000) -> Analysis:
    """Compare the groups of an exported folder by what people answered.

    answers     table of answers, see docs/psychophysics.md
    study       the folder that `export` wrote
    confidence  of the intervals, between 0 and 1; n_bootstrap: resamples, at least 100

    Raises StudyError naming the file, row and value of what cannot be read.
    """
    key = questions.read_key(study)
    responses, simulated = questions.read_responses(answers, key)
    source = questions.SIMULATED if simulated else questions.PEOPLE
    measured = intervention.measured(responses, key.expected, key.seed, n_bootstrap, confidence)
    tests = intervention.compare_groups(responses, confidence)
    table = responses.assign(source=source)[RESPONSE_COLUMNS].sort_values(RESPONSE_COLUMNS[:6], kind="stable")
    return Analysis(measured.assign(source=source), tests.assign(source=source), table, source, confidence)


def _shown(table: pd.DataFrame) -> str:
    return table.drop(columns="source").to_string(index=False, float_format=lambda value: f"{value:.3g}", na_rep="")


def _verdict(tests: pd.DataFrame) -> str:
    """Whether the groups of a network lie as their scores said (easiest above random above hardest)."""
    if tests.empty:
        return "too few groups with two answered units to compare"
    order = {name: number for number, name in enumerate(schema.GROUPS)}
    expected = [
        np.sign(order[second] - order[first]) for first, second in zip(tests["first"], tests["second"], strict=True)
    ]
    right = np.sign(tests["difference"].to_numpy()) == expected
    apart = (tests["low"] > 0) | (tests["high"] < 0)
    return (
        f"{int(right.sum())} of {len(tests)} pairs of groups are in the order that their scores said, "
        f"{int((right & apart.to_numpy()).sum())} of them with an interval that leaves out zero (other units and other people, "
        "each comparison alone)"
    )
