"""The course of a session as a state machine: no clock, no network, no database.

    consent -> instructions -> practice, block by block until one is all right -> ready -> main -> comment -> end
    consent -> instructions -> rating -> comment -> end

The order is that of IMI (sections 3.1 and A.1). Trials are counted through: all practice blocks that there may be, then the main
part; pages from 0. A move gives the next state and changes nothing, so that it can be kept on the disk before it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from experiment.plan import Plan

CONSENT, INSTRUCTIONS, PRACTICE, READY, MAIN, RATING, COMMENT, END = STAGES = (
    "consent",
    "instructions",
    "practice",
    "ready",
    "main",
    "rating",
    "comment",
    "end",
)
COMPLETE, FAILED, LEFT, TIME, BEFORE = OUTCOMES = ("complete", "practice", "left", "time", "before")
PAID = (COMPLETE, FAILED)  # whoever went through is paid, whatever the checks say
AHEAD = 2  # trials after the open one whose pictures may be fetched
_WITH_TRIALS = (PRACTICE, MAIN, RATING)


@dataclass(frozen=True, slots=True)
class State:
    """Where a session stands.

    block    practice block, from 1
    trial    the open trial; outside of a part with trials, the first of the part that comes next
    clean    no answer of this practice block was wrong; true outside of practice
    outcome  how it ended, None while it runs; the comment is asked for after that
    """

    stage: str = CONSENT
    block: int = 1
    trial: int = 0
    clean: bool = True
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """The moves of one session. `comment`: whether a comment is asked for at its end."""

    plan: Plan
    comment: bool

    def agreed(self, state: State) -> State:
        """Consent was given."""
        return replace(state, stage=INSTRUCTIONS)

    def read(self, state: State) -> State:
        """The instructions were read."""
        if self.plan.pages:
            return replace(state, stage=RATING)
        if self.plan.practice:
            return replace(state, stage=PRACTICE)
        return replace(state, stage=READY)

    def began(self, state: State) -> State:
        """The main part was begun."""
        return replace(state, stage=MAIN)

    def answered(self, state: State, right: bool) -> State:
        """The open trial was answered. Practice ends with a block without a mistake, or with the last block."""
        after = replace(state, trial=state.trial + 1)
        if state.stage != PRACTICE:
            over = after.trial == self.plan.first + self.plan.n_trials
            return self.finished(after) if over else after
        after = replace(after, clean=state.clean and right)
        if after.trial < state.block * self.plan.block:
            return after
        if after.clean:
            return replace(after, stage=READY, trial=self.plan.first)
        if state.block == len(self.plan.practice):
            return self.ended(after, FAILED)
        return replace(after, block=state.block + 1, clean=True)

    def finished(self, state: State) -> State:
        """The last trial was answered: the session is complete, whether a comment comes or not."""
        return replace(state, stage=COMMENT if self.comment else END, outcome=COMPLETE)

    def commented(self, state: State) -> State:
        """The comment was sent, or passed over."""
        return replace(state, stage=END)

    def ended(self, state: State, outcome: str) -> State:
        """The session ends before its last trial."""
        return State(stage=END, block=state.block, outcome=outcome)

    def open_trial(self, state: State) -> int | None:
        """The trial that may be answered now."""
        return state.trial if state.stage in _WITH_TRIALS else None

    def visible(self, state: State) -> range:
        """Trials whose pictures may be fetched: the open one and the next two of its part; before a part, its first ones."""
        if state.stage in (INSTRUCTIONS, PRACTICE) and self.plan.practice:
            end = state.block * self.plan.block
        elif state.stage in (INSTRUCTIONS, READY, MAIN, RATING):
            end = self.plan.first + self.plan.n_trials
        else:
            return range(0)
        return range(state.trial, min(state.trial + AHEAD + 1, end))

    def position(self, trial: int) -> tuple[str, int | None, int, int]:
        """What a trial is: its part, practice block, number in its part from 1, and how many trials the part has."""
        plan = self.plan
        if plan.pages:
            return RATING, None, trial + 1, plan.n_trials
        if trial < plan.first:
            return PRACTICE, trial // plan.block + 1, trial % plan.block + 1, plan.block
        return MAIN, None, trial - plan.first + 1, plan.n_trials

    def name_of(self, trial: int) -> str:
        """The question of a trial of two alternatives."""
        plan = self.plan
        if trial < plan.first:
            return plan.practice[trial // plan.block][trial % plan.block]
        return plan.main[trial - plan.first]

    def restored(self, stage: str, block: int, outcome: str | None, right: Mapping[int, bool]) -> State:
        """The state of a session that was kept: its stage, block and outcome, and which of its trials were answered right."""
        if outcome not in (None, COMPLETE):
            return State(stage, block, outcome=outcome)
        first = 0
        if stage in (PRACTICE, INSTRUCTIONS, CONSENT):
            first = (block - 1) * self.plan.block
        elif not self.plan.pages:
            first = self.plan.first
        here = [each for trial, each in sorted(right.items()) if trial >= first]
        clean = stage != PRACTICE or all(here)
        return State(stage, block, first + len(here), clean, outcome)
