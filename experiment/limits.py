"""How much one may ask: a bucket of tokens for each session, and one for those who have none yet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """So many requests a second on average, so many at once."""

    per_second: float
    at_once: float


@dataclass(frozen=True)
class Limits:
    """calls: of one session; pictures: of one session; new: sessions begun, by all together."""

    calls: Rate = Rate(20.0, 100.0)
    pictures: Rate = Rate(200.0, 600.0)
    new: Rate = Rate(5.0, 300.0)


SIMULATED = Limits(
    Rate(1e6, 1e6), Rate(1e6, 1e6), Rate(1e6, 1e6)
)  # participants made up here answer as fast as they can


class Bucket:
    """Fills steadily; every request takes one token. Times are seconds of any clock that does not go back."""

    __slots__ = ("_level", "_rate", "_time")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate, self._level, self._time = rate, rate.at_once, now

    def take(self, now: float) -> float:
        """Take a token: 0, or the seconds until there is one."""
        rate = self._rate
        self._level = min(rate.at_once, self._level + (now - self._time) * rate.per_second)
        self._time = now
        if self._level < 1:
            return (1 - self._level) / rate.per_second
        self._level -= 1
        return 0.0
