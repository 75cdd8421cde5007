"""Who is asked what: small cases by hand, what must hold whatever people do, and a dealer that died and was restored."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.session_dealing import RULES, UNITS, new_dealer, row
from interpretability.design.dealing import COUNTED, GIVEN_BACK, RUNNING, Dealer, Dealers, Dealt
from interpretability.design.dealing_simulated import Recruitment, recruit
from interpretability.errors import InputError

TASKS = {f"{unit}{task}": unit for unit in "abcd" for task in range(2)}


def dealer(needed=2, size=2, listed=(), seed=0, name="net", units=TASKS):
    return Dealer(units, needed, size, list(listed), seed, name)


def units_of(dealt):
    return sorted(item[0] for item in dealt.items)


# --------------------------------------------------------------------------- by hand


def test_the_list_comes_first_in_its_order_then_what_is_needed():
    made = dealer(listed=[("s1", ["a0", "b0"]), ("s2", ["c0", "d0"]), ("s3", ["a1", "c1"])])
    assert [made.deal(n) for n in (1, 2, 3)] == [
        Dealt("s1", ("a0", "b0"), "net"),
        Dealt("s2", ("c0", "d0"), "net"),
        Dealt("s3", ("a1", "c1"), "net"),
    ]
    assert made.remaining() == {"a": 0, "b": 1, "c": 0, "d": 1}
    last = made.deal(4)
    assert last is not None
    assert last.listed is None
    assert sorted(last.items) == ["b1", "d1"]  # the tasks that nobody has been asked
    assert not made.open
    assert made.deal(5) is None


def test_reserved_units_come_back_when_a_session_does_not_count():
    made = dealer(needed=1, listed=[("s1", ["a0", "b0"]), ("s2", ["c0", "d0"])])
    made.deal(1), made.deal(2)
    assert made.deal(3) is None  # all is reserved, nothing is answered
    made.end(1, counted=False)
    assert made.remaining() == {"a": 1, "b": 1, "c": 0, "d": 0}
    again = made.deal(4)
    assert again.listed is None
    assert sorted(again.items) == ["a0", "b0"]
    made.end(2, counted=True), made.end(4, counted=True)
    assert made.remaining() == dict.fromkeys("abcd", 0)
    assert made.deal(5) is None
    assert made.share == 0


def test_units_that_lack_most_come_first_and_ties_are_drawn_by_number():
    made = dealer(needed=3, listed=[("s1", ["a0", "b0"])])
    made.deal(1)
    assert units_of(made.deal(2)) == ["c", "d"]
    drawn = {tuple(units_of(dealer(seed=7).deal(number))) for number in range(1, 60)}
    assert len(drawn) == 6  # all pairs of four units that lack the same


def test_the_order_of_questions_does_not_tell_which_units_lack_most():
    firsts = Counter()
    for number in range(1, 201):
        made = dealer(needed=3, listed=[("s1", ["a0", "b0"])], size=3)
        made.restore(1000, Dealt("s1", ("a0", "b0"), "net"), RUNNING)
        firsts[made.deal(number).items[0][0] in "cd"] += 1
    assert 100 < firsts[True] < 166  # two in three would be 133, with a standard deviation of 6.7


def test_answers_of_a_unit_go_round_its_tasks():
    made = dealer(needed=4, size=1, units={"a0": "a", "a1": "a", "a2": "a"})
    assert [made.deal(n).items for n in range(1, 5)] == [("a0",), ("a1",), ("a2",), ("a0",)]
    made.end(2, counted=False)
    assert made.deal(5).items == ("a1",)


def test_a_last_session_may_be_shorter():
    made = dealer(needed=1, size=3)
    assert [len(made.deal(n).items) for n in (1, 2)] == [3, 1]


def test_a_listed_session_that_is_not_needed_as_a_whole_is_passed_over():
    made = dealer(needed=1, listed=[("s1", ["a0", "b0"]), ("s2", ["b1", "c0"]), ("s3", ["c1", "d0"])])
    assert [made.deal(n).listed for n in (1, 2)] == ["s1", "s3"]
    made.end(1, counted=False)
    assert units_of(made.deal(3)) == ["a", "b"]


def test_what_a_person_has_seen_is_not_shown_again():
    pages = {f"p{page}": page for page in range(1, 6)}
    made = Dealer(pages, 2, 3, [("s1", ["p1", "p2", "p3"])], 0, "ratings")
    assert set(made.deal(1, {2, 5}).items) == {"p1", "p3", "p4"}
    assert made.deal(2, frozenset(range(1, 6))) is None
    assert made.open
    made.end(1, counted=False, answered=["p1"])  # left after a page, which is paid and counts
    assert made.remaining() == {1: 1, 2: 2, 3: 2, 4: 2, 5: 2}
    assert made.deal(2, {5}).listed == "s1"


def test_the_experiment_of_which_most_is_needed_is_dealt():
    units = {"x0": "x", "x1": "x"}
    both = Dealers([dealer(needed=1, size=1), dealer(needed=1, size=1, name="other", units=units)])
    names = [both.deal(n).name for n in range(1, 6)]
    assert names == ["net", "other", "net", "net", "net"]  # 4/4 = 1/1, 3/4 < 1/1, then only net
    assert both.deal(6) is None
    assert not both.open
    both.end(2, "other", counted=False)
    assert both.remaining() == {"net": dict.fromkeys("abcd", 0), "other": {"x": 1}}
    assert both.deal(7).name == "other"


def test_a_person_who_has_seen_one_experiment_gets_another():
    units = {"x0": "x"}
    both = Dealers([dealer(needed=1, size=1), dealer(needed=1, size=1, name="other", units=units)])
    assert both.deal(1, set("abcd")).name == "other"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"needed": 0}, "needed is 0; it must be a whole number of at least 1"),
        ({"size": True}, "size is True; it must be a whole number"),
        ({"listed": [("s1", ["a0"]), ("s1", ["b0"])]}, "listed names a session twice"),
        ({"listed": [("s1", ["a0", "z9"])]}, "listed has z9 in session s1, no item"),
        ({"listed": [("s1", ["a0", "a1"])]}, "listed asks about a unit twice in session s1"),
        ({"listed": [("s1", [])]}, "listed has no items in session s1"),
    ],
)
def test_a_wrong_dealer_is_refused(change, says):
    with pytest.raises(InputError, match=says):
        dealer(**change)


def test_wrong_calls_are_refused():
    made = dealer()
    made.deal(1)
    with pytest.raises(InputError, match="number is 1; that session has been dealt"):
        made.deal(1)
    with pytest.raises(InputError, match="number is 2; no session of that number is running"):
        made.end(2, counted=True)
    with pytest.raises(InputError, match="answered has z9, no item of session 1"):
        made.end(1, counted=False, answered=["z9"])
    with pytest.raises(InputError, match="state is 'lost', allowed: running, counted, given back"):
        made.restore(3, Dealt(None, ("a0",), "net"), "lost")
    with pytest.raises(InputError, match="dealt has z9, no item of net"):
        made.restore(3, Dealt(None, ("z9",), "net"), RUNNING)
    with pytest.raises(InputError, match="name is 'nobody'; the experiments are net"):
        Dealers([made]).end(1, "nobody", counted=True)
    with pytest.raises(InputError, match="dealers has two of one name"):
        Dealers([made, dealer()])


# --------------------------------------------------------------------------- whatever people do

FATES = st.lists(st.sampled_from(["count", "give back", "stay", "first ends"]), max_size=60)
SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(1, 4), st.integers(1, 8), st.integers(0, 5))


def world(shape):
    n_units, n_tasks, needed, size, n_listed = shape
    units = {f"u{unit}t{task}": unit for unit in range(n_units) for task in range(n_tasks)}
    plain = Dealer(units, needed, size, [], 1, "draw")
    listed = [(f"s{n}", dealt.items) for n in range(1, n_listed + 1) if (dealt := plain.deal(n))]
    return units, needed, size, listed


def play(made, fates, number=0, log=None):
    """Deal once a fate; the log has every session with its state."""
    log = {} if log is None else log
    for fate in fates:
        number += 1
        dealt = made.deal(number)
        if dealt is not None:
            log[number] = (dealt, RUNNING)
        running = [n for n, (_, state) in log.items() if state == RUNNING]
        if fate == "stay" or not running:
            continue
        ended = running[0] if fate == "first ends" else running[-1]
        made.end(ended, fate != "give back")
        log[ended] = (log[ended][0], GIVEN_BACK if fate == "give back" else COUNTED)
    return log


@settings(max_examples=150, deadline=None)
@given(SHAPES, FATES)
def test_no_unit_is_asked_too_often_and_none_twice_a_session(shape, fates):
    units, needed, size, listed = world(shape)
    made = Dealer(units, needed, size, listed, 0, "any")
    log = play(made, fates)
    held = Counter(units[item] for dealt, state in log.values() if state != GIVEN_BACK for item in dealt.items)
    assert all(count <= needed for count in held.values())
    assert made.remaining() == {unit: needed - held[unit] for unit in set(units.values())}
    for dealt, _ in log.values():
        assert len({units[item] for item in dealt.items}) == len(dealt.items) <= size
    names = [dealt.listed for dealt, _ in log.values() if dealt.listed]
    assert len(set(names)) == len(names)  # a listed session is dealt once
    tasks = Counter(item for dealt, state in log.values() if state == COUNTED for item in dealt.items)
    if all(state == COUNTED for _, state in log.values()) and not listed:
        for unit in set(units.values()):
            asked = [tasks[item] for item in units if units[item] == unit]
            assert max(asked) - min(asked) <= 1


@settings(max_examples=100, deadline=None)
@given(SHAPES, FATES, FATES, st.randoms(use_true_random=False))
def test_a_restored_dealer_goes_on_as_the_one_before(shape, before, after, shuffled):
    units, needed, size, listed = world(shape)
    made, again = (Dealer(units, needed, size, listed, 3, "any") for _ in range(2))
    log = play(made, before)
    entries = list(log.items())
    shuffled.shuffle(entries)  # the order in which a database gives them does not matter
    for number, (dealt, state) in entries:
        again.restore(number, dealt, state)
    assert again.remaining() == made.remaining()
    assert again.share == made.share
    assert play(made, after, len(before), dict(log)) == play(again, after, len(before), dict(log))


@settings(max_examples=60, deadline=None)
@given(SHAPES, FATES)
def test_all_needed_answers_come_in_when_people_keep_coming(shape, fates):
    units, needed, size, listed = world(shape)
    made = Dealer(units, needed, size, listed, 0, "any")
    log = play(made, fates)
    for number in [n for n, (_, state) in log.items() if state == RUNNING]:
        made.end(number, counted=True)
    number = len(fates)
    while made.open:
        number += 1
        made.deal(number)
        made.end(number, counted=True)
    assert set(made.remaining().values()) == {0}


# --------------------------------------------------------------------------- recruitments


@pytest.mark.parametrize("drop_out", [0.2, 0.3])
def test_recruitments_in_a_burst_end_exactly_and_take_hardly_more_people_than_they_must(drop_out):
    found = row("list, then need", "burst", drop_out, seeds=8)
    assert (found["spread_end"], found["surplus"], found["repeated"]) == (0, 0, True)
    assert found["ratio"] <= 1.1  # 8 seeds alone: the mean of 40 is within 1.05
    assert 0 < found["spread_100"] <= 13
    assert found["least"] == pytest.approx(63 / ((1 - drop_out) * 0.8))


def test_another_seed_makes_other_sessions_and_other_fates():
    how = Recruitment()
    one, two = (recruit(new_dealer(seed, with_list=True), how, seed) for seed in (0, 1))
    assert one.sessions != two.sessions
    assert one.counted != two.counted
    assert len(one.counted) == len(two.counted) == UNITS * 30 / 40


def test_a_slow_recruitment_turns_fewer_people_away():
    away = {}
    for every in (3.0, 60.0):
        found = recruit(new_dealer(0, with_list=RULES["list, then need"]), Recruitment(every=every), 0, arrivals=100)
        away[every] = found.n_turned_away
        assert len(found.sessions) + found.n_turned_away == 100
    assert away[3.0] == 100 - 63 > away[60.0]


@pytest.mark.parametrize("wrong", [{"every": 0}, {"drop_out": 1.0}, {"refused": -0.1}, {"longest": 100.0}])
def test_recruitments_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Recruitment(**wrong)
