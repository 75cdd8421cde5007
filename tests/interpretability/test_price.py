"""What answers of people cost: known figures of the record, and sessions to pay beside plain simulation."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from interpretability.design import price
from interpretability.errors import InputError
from interpretability.randomness import generator

IMI = price.PassShare.seen(76_000, 133_310)


@pytest.mark.parametrize("share", [price.PassShare(0.57), IMI])
def test_known_figures_of_the_record(share):
    one = price.accepted_sessions(84, 30, 40)
    assert one == 63
    assert price.sessions_to_pay(one, share).expected == 111
    all_of_them = price.sessions_to_pay(23 * one, share)
    assert all_of_them.expected == 2542
    assert round(price.Fee(2.79).cost(all_of_them.expected)) == 7092
    assert all_of_them.low < 2542 < all_of_them.high


def test_known_figures_of_rating_pages():
    pages = price.rating_pages(180, 15, 3)
    assert pages == 36
    assert price.Fee(0.05, 0.2).cost(pages) == pytest.approx(36 * 0.06)
    assert price.Fee(0.05, 0.2).paid(pages) == pytest.approx(36 * 0.05)
    assert price.rating_pages(181, 15, 3) == 39


@pytest.mark.parametrize(
    ("units", "answers", "trials", "wanted"),
    [(84, 30, 40, 63), (60, 30, 40, 45), (10, 4, 40, 4), (84, 1, 40, 3), (3, 0.1, 1, 1)],
)
def test_sessions_that_give_each_unit_its_answers(units, answers, trials, wanted):
    assert price.accepted_sessions(units, answers, trials) == wanted


@pytest.mark.parametrize("share", [price.PassShare(0.57), price.PassShare.seen(8, 14), price.PassShare.seen(5, 5)])
def test_sessions_to_pay_lie_where_simulated_recruitments_end(share):
    found = price.sessions_to_pay(30, share, 0.9)
    draw = generator(0, "recruitments", share.of)
    p = draw.beta(share.passed + 0.5, share.of - share.passed + 0.5, 20_000) if share.of else share.value
    paid = 30 + draw.negative_binomial(30, p, 20_000)
    assert np.mean(paid <= found.high) >= 0.94
    assert np.mean(paid < found.high) <= 0.96
    assert np.mean(paid < found.low) <= 0.06
    assert np.mean(paid <= found.low) >= 0.045
    assert abs(found.expected - 30 / share.value) <= 0.5


def test_the_less_was_seen_the_wider_the_range():
    ranges = [price.sessions_to_pay(63, price.PassShare.seen(4 * n, 7 * n)) for n in (1, 10, 1000)]
    assert [each.expected for each in ranges] == [110, 110, 110]
    widths = [each.high - each.low for each in ranges]
    assert widths == sorted(widths, reverse=True)
    known = price.sessions_to_pay(63, price.PassShare(4 / 7))
    assert widths[-1] == pytest.approx(known.high - known.low, abs=2)


def test_interval_of_the_share_is_that_of_jeffreys():
    assert price.PassShare.seen(8, 14).interval() == pytest.approx(proportion_confint(8, 14, method="jeffreys"))
    assert price.PassShare.seen(14, 14).interval()[1] == 1
    assert price.PassShare(0.57).interval() == (0.57, 0.57)


def test_nothing_wanted_costs_nothing_and_sure_shares_have_no_range():
    assert price.sessions_to_pay(0, IMI) == price.Sessions(0, 0, 0, 0)
    assert price.sessions_to_pay(63, price.PassShare(1.0)) == price.Sessions(63, 63, 63, 63)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: price.PassShare(0), "value"),
        (lambda: price.PassShare(1.2), "value is 1.2; it must be a share of at most 1"),
        (lambda: price.PassShare.seen(0, 9), "passed"),
        (lambda: price.PassShare.seen(9, 3), "passed"),
        (lambda: price.Fee(-1), "pay"),
        (lambda: price.Fee(1, -0.1), "platform_share"),
        (lambda: price.accepted_sessions(0, 30, 40), "n_units"),
        (lambda: price.accepted_sessions(84, 0, 40), "n_answers"),
        (lambda: price.rating_pages(180, 0, 3), "page"),
        (lambda: price.sessions_to_pay(-1, IMI), "accepted"),
        (lambda: price.sessions_to_pay(1, IMI, 1.0), "confidence"),
    ],
)
def test_what_cannot_be_planned_is_refused_by_name(call, word):
    with pytest.raises(InputError, match=word):
        call()
