"""What answers of people cost: sessions that pass the checks, sessions that are paid, and money.

Every session that was begun in earnest is paid whatever the checks say (IMI, appendix A.3), so the share that passes decides the
price. Known figures: 63 sessions that count, at the share of IMI's record (76,000 of 133,310 rows), take 111; its 23 experiments
2,542, or 7,092 USD at 2.79 before fees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

from interpretability import arguments
from interpretability.errors import InputError


@dataclass(frozen=True)
class PassShare:
    """Share of paid sessions that count.

    value        above 0, at most 1
    passed, of   the sessions that it was seen in; 0 of 0 where it is assumed
    """

    value: float
    passed: int = 0
    of: int = 0

    def __post_init__(self) -> None:
        arguments.number(self.value, "value", above=0)
        if self.value > 1:
            raise arguments.wrong("value", "is {given!r}; it must be a share of at most 1", given=self.value)

    @classmethod
    def seen(cls, passed: int, of: int) -> PassShare:
        """The share in sessions so far. Raises InputError without any that passed: no number of sessions would suffice then."""
        of = arguments.count(of, "of")
        passed = arguments.count(passed, "passed", 0, of)
        if passed == 0:
            raise InputError(
                "{passed} is 0 of {total} sessions; nothing can be planned before one session has passed the checks",
                "passed",
                total=of,
            )
        return cls(passed / of, passed, of)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Ends of Jeffreys' interval of the share (Brown, Cai and DasGupta 2001); the share itself twice where it is assumed."""
        tail = (1 - arguments.number(confidence, "confidence", above=0, below=1)) / 2
        if not self.of:
            return self.value, self.value
        known = stats.beta(self.passed + 0.5, self.of - self.passed + 0.5)
        low = 0.0 if self.passed == 0 else float(known.ppf(tail))
        return low, 1.0 if self.passed == self.of else float(known.ppf(1 - tail))


@dataclass(frozen=True)
class Fee:
    """What one session or page costs: `pay` for the person, and the platform's share of that on top (0.25: a quarter)."""

    pay: float
    platform_share: float = 0.0

    def __post_init__(self) -> None:
        arguments.number(self.pay, "pay", least=0)
        arguments.number(self.platform_share, "platform_share", least=0)

    def paid(self, number: float) -> float:
        """Money for people alone."""
        return number * self.pay

    def cost(self, number: float) -> float:
        """Money with the platform's share."""
        return number * self.pay * (1 + self.platform_share)


@dataclass(frozen=True)
class Sessions:
    """Sessions to pay until enough of them count.

    accepted   sessions that shall count
    expected   the mean number to pay, to the nearest whole
    low, high  the number lies between them with the probability asked for: by chance alone where the share is assumed, and by
               what is not known of the share where it was seen in some sessions
    """

    accepted: int
    expected: int
    low: int
    high: int


def accepted_sessions(n_units: int, n_answers: float, n_trials: int) -> int:
    """Sessions of `n_trials` answers that give each of `n_units` units `n_answers` (63 for 84 units, 30 answers, 40 trials).

    Nobody answers a unit twice, so a session has at most as many answers as there are units, and `n_answers` people are needed
    at least.
    """
    units, trials = arguments.count(n_units, "n_units"), arguments.count(n_trials, "n_trials")
    answers = arguments.number(n_answers, "n_answers", above=0)
    return math.ceil(_clean(units * answers / min(trials, units)))


def sessions_to_pay(accepted: int, share: PassShare, confidence: float = 0.95) -> Sessions:
    """How many sessions have to be paid until `accepted` of them count.

    Sessions that fail until the last one that counts are negative binomial, with a share that is known, or is Beta distributed
    by what was seen (after Jeffreys' prior). `expected` is accepted / share in both cases, to the nearest whole: it is a mean, of
    which half of all studies take more, so rounding it up would not make it enough. `high` is the number to have money for.
    """
    wanted = arguments.count(accepted, "accepted", 0)
    tail = (1 - arguments.number(confidence, "confidence", above=0, below=1)) / 2
    expected = math.floor(_clean(wanted / share.value) + 0.5)
    if wanted == 0 or (share.value == 1 and not share.of):
        return Sessions(wanted, expected, wanted, wanted)
    low, high = (_failures(wanted, share, chance) for chance in (tail, 1 - tail))
    return Sessions(wanted, expected, wanted + low, wanted + high)


def _failures(wanted: int, share: PassShare, chance: float) -> int:
    """Quantile of the number of sessions that fail before `wanted` passed."""
    if not share.of:
        return int(stats.nbinom.ppf(chance, wanted, share.value))
    return int(stats.betanbinom.ppf(chance, wanted, share.passed + 0.5, share.of - share.passed + 0.5))


def rating_pages(n_pictures: int, page: int, n_raters: int) -> int:
    """Pages to pay: 180 pictures on pages of 15, each rated by 3 people, are 12 pages x 3 = 36 (crowd paper, section 3)."""
    pictures = arguments.count(n_pictures, "n_pictures")
    return math.ceil(pictures / arguments.count(page, "page")) * arguments.count(n_raters, "n_raters")


def _clean(number: float) -> float:
    """The number without the last digits, so that 30 * 84 / 40 is 63 and not a little more."""
    return round(number, 9)
