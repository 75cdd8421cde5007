"""What one session asks: its practice blocks, its main trials with catch trials among them, or its rating pages.

A session is planned when it starts, from a draw keyed by the seed and the number of its arrival, so that the same people meet the
same questions, and what was planned is kept, so that a server that was killed goes on with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from experiment.settings import PAGED, Settings
from experiment.study_folder import CATCH, PRACTICE, Folder, Question
from interpretability.randomness import generator
from study.errors import StudyError


@dataclass(frozen=True, slots=True)
class Plan:
    """Names of the questions of every practice block and of the main part; or numbers of pages."""

    practice: tuple[tuple[str, ...], ...] = ()
    main: tuple[str, ...] = ()
    pages: tuple[int, ...] = ()

    @property
    def block(self) -> int:
        """Trials of a practice block."""
        return len(self.practice[0]) if self.practice else 0

    @property
    def first(self) -> int:
        """Index of the first trial after practice. Trials are counted through: all practice blocks that there may be, then
        the main part; pages from 0."""
        return len(self.practice) * self.block

    @property
    def n_trials(self) -> int:
        """Trials of the main part, or pages."""
        return len(self.main) + len(self.pages)

    def to_json(self) -> str:
        if self.pages:
            return json.dumps({"pages": self.pages})
        return json.dumps({"practice": self.practice, "main": self.main})

    @classmethod
    def from_json(cls, text: str) -> Plan:
        found = json.loads(text)
        practice = tuple(tuple(block) for block in found.get("practice", ()))
        return cls(practice, tuple(found.get("main", ())), tuple(found.get("pages", ())))


def draw(folder: Folder, settings: Settings, experiment: str, items: Sequence[str], number: int) -> Plan:
    """The plan of the session that came as number `number` and was dealt `items` of `experiment`.

    Each practice block is drawn anew from the folder's practice questions, obvious ones and others as the settings say, in
    random order (IMI section 3.1); catch trials are drawn likewise and shuffled among the main ones.
    """
    if experiment in PAGED:
        return Plan(pages=tuple(int(item) for item in items))
    obvious, other = pools(folder, experiment)
    blocks = []
    for block in range(1, settings.checks.max_demo_blocks + 1):
        random = generator(folder.seed, "practice", experiment, number, block)
        names = [obvious[at].name for at in random.permutation(len(obvious))[: settings.practice_obvious]]
        rest = settings.practice_block - settings.practice_obvious
        names += [other[at].name for at in random.permutation(len(other))[:rest]]
        blocks.append(tuple(names[at] for at in random.permutation(len(names))))
    random = generator(folder.seed, "main", experiment, number)
    catch = folder.of(experiment, CATCH)
    names = [*items, *(catch[at].name for at in random.permutation(len(catch))[: settings.catch_trials])]
    return Plan(practice=tuple(blocks), main=tuple(names[at] for at in random.permutation(len(names))))


def pools(folder: Folder, experiment: str) -> tuple[list[Question], list[Question]]:
    """Practice questions of an experiment: the obvious ones and the others."""
    rows = folder.of(experiment, PRACTICE)
    return [row for row in rows if row.obvious], [row for row in rows if not row.obvious]


def check(folder: Folder, settings: Settings) -> None:
    """Raise StudyError where the folder has fewer practice or catch questions than the settings ask for."""
    if folder.kind in PAGED:
        return
    for experiment in folder.experiments():
        obvious, other = pools(folder, experiment)
        for key, wanted, there, what in (
            ("practice_obvious", settings.practice_obvious, obvious, "obvious practice questions"),
            ("practice_block", settings.practice_block - settings.practice_obvious, other, "other practice questions"),
            ("catch_trials", settings.catch_trials, folder.of(experiment, CATCH), "catch questions"),
        ):
            if wanted > len(there):
                raise StudyError(
                    f"{key} of settings.yaml asks for {wanted} {what} in a session, but {folder.path} has {len(there)} "
                    f"for {experiment}. Lower {key}, or export more with --practice and --catch"
                )


def doubt(folder: Folder, settings: Settings) -> str | None:
    """Why no session of this run can count, if that is so: a session that can be seen to be too short for the checks."""
    if folder.kind in PAGED:
        return None
    shown, row = folder.study["trials_a_session"] + settings.catch_trials, settings.checks.min_row
    if shown >= 2 * row:
        return None
    return (
        f"no session can count: checks.min_row asks for {row} answers in each row of buttons, and a session has {shown} trials; "
        f"it can be at most {shown // 2}"
    )
