"""The course of a session, without a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiment.flow import COMPLETE, FAILED, LEFT, Course, State
from experiment.plan import Plan

PLAN = Plan(practice=(("p1", "p2"), ("p3", "p4"), ("p5", "p6")), main=("q1", "c1", "q2"))
PAGES = Plan(pages=(7, 3, 5))


def through(course: Course, rights: list[bool]) -> list[State]:
    """States after reading the instructions and after each answer; the main part begins by itself."""
    state = course.read(course.agreed(State()))
    states = [state]
    for right in rights:
        if state.stage == "ready":
            state = course.began(state)
        if course.open_trial(state) is None:
            break
        state = course.answered(state, right)
        states.append(state)
    return states


def test_practice_ends_with_the_first_block_without_a_mistake():
    states = through(Course(PLAN, True), [True, False, True, True])
    assert [(each.stage, each.block, each.trial) for each in states] == [
        ("practice", 1, 0),
        ("practice", 1, 1),
        ("practice", 2, 2),
        ("practice", 2, 3),
        ("ready", 2, 6),
    ]


def test_a_mistake_in_an_earlier_block_does_not_count_in_the_next():
    assert through(Course(PLAN, True), [False, True, True, True])[-1].stage == "ready"


def test_the_last_block_with_a_mistake_ends_the_session():
    last = through(Course(PLAN, True), [True, False, False, True, True, False])[-1]
    assert (last.stage, last.outcome, last.block) == ("end", FAILED, 3)


@pytest.mark.parametrize(("comment", "stage"), [(True, "comment"), (False, "end")])
def test_the_last_trial_completes(comment, stage):
    course = Course(PLAN, comment)
    last = through(course, [True, True, False, True, False])[-1]
    assert (last.stage, last.outcome, last.trial) == (stage, COMPLETE, 9)
    assert course.commented(last).stage == "end"
    pages = through(Course(PAGES, comment), [True] * 3)
    assert [each.stage for each in pages] == ["rating", "rating", "rating", stage]


def test_who_does_not_agree_has_left():
    assert Course(PLAN, True).ended(State(), LEFT) == State(stage="end", outcome=LEFT)


def test_pictures_may_be_fetched_two_ahead_and_no_further_than_the_part():
    course = Course(PLAN, True)
    instructions = course.agreed(State())
    assert list(course.visible(State())) == []
    assert list(course.visible(instructions)) == [0, 1]
    seen = [list(course.visible(state)) for state in through(course, [True, True, True, True, True])]
    assert seen == [[0, 1], [1], [6, 7, 8], [7, 8], [8], []]
    assert [list(Course(PAGES, True).visible(state)) for state in through(Course(PAGES, True), [True, True])] == [
        [0, 1, 2],
        [1, 2],
        [2],
    ]


def test_trials_have_places_and_names():
    course = Course(PLAN, True)
    assert [course.position(trial) for trial in (0, 3, 6, 8)] == [
        ("practice", 1, 1, 2),
        ("practice", 2, 2, 2),
        ("main", None, 1, 3),
        ("main", None, 3, 3),
    ]
    assert [course.name_of(trial) for trial in range(9)] == ["p1", "p2", "p3", "p4", "p5", "p6", "q1", "c1", "q2"]
    assert Course(PAGES, True).position(2) == ("rating", None, 3, 3)


def test_without_practice_the_main_part_follows_the_instructions():
    course = Course(Plan(main=("q1",)), False)
    assert [each.stage for each in through(course, [True])] == ["ready", "end"]


@given(st.lists(st.booleans(), max_size=12), st.sampled_from([PLAN, PAGES]))
def test_every_state_is_found_again_from_what_is_kept(rights, plan):
    course = Course(plan, True)
    state = course.read(course.agreed(State()))
    kept: dict[int, bool] = {}
    for right in rights:
        assert course.restored(state.stage, state.block, state.outcome, kept) == state
        if state.stage == "ready":
            state = course.began(state)
            assert course.restored(state.stage, state.block, state.outcome, kept) == state
        if course.open_trial(state) is None:
            break
        kept[state.trial] = right or plan is PAGES
        state = course.answered(state, right or plan is PAGES)


def test_plans_are_read_as_they_were_written():
    for plan in (PLAN, PAGES):
        assert Plan.from_json(plan.to_json()) == plan
