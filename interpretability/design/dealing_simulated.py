"""Simulated recruitments: people come, answer, leave or are refused, until every unit has its answers.

They show what a rule of dealing costs before anybody is paid: how many people must start, how many are turned away because all
that is needed is reserved, and how even the answers are on the way.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field

from interpretability.arguments import number as checked_number
from interpretability.arguments import wrong
from interpretability.design.dealing import Dealer, Dealt, U
from interpretability.randomness import generator


@dataclass(frozen=True)
class Recruitment:
    """How people come and what becomes of them; times in seconds.

    every     from one arrival to the next: 3 on crowd platforms, which announce an experiment to everybody at once
    drop_out  share of those who start that leave without a word
    refused   share of those who finish whose session fails the checks
    shortest, longest  of a finished session, evenly between them
    time_out  from its start until a session without an end gives its units back
    """

    every: float = 3.0
    drop_out: float = 0.2
    refused: float = 0.2
    shortest: float = 480.0
    longest: float = 1200.0
    time_out: float = 3600.0

    def __post_init__(self) -> None:
        checked_number(self.every, "every", above=0)
        checked_number(self.drop_out, "drop_out", least=0, below=1)
        checked_number(self.refused, "refused", least=0, below=1)
        checked_number(self.shortest, "shortest", above=0)
        if not self.shortest <= self.longest <= self.time_out:
            given = f"{self.shortest:g}, longest {self.longest:g} and time_out {self.time_out:g}"
            raise wrong("shortest", "is {given}; they must ascend", given=given)

    @property
    def counting(self) -> float:
        """Share of those who start whose session counts."""
        return (1 - self.drop_out) * (1 - self.refused)


@dataclass
class Recruited:
    """What came of it: sessions as they were dealt, by number; the numbers of those that count; people turned away."""

    sessions: dict[int, Dealt] = field(default_factory=dict)
    counted: list[int] = field(default_factory=list)
    n_turned_away: int = 0

    def answers(self) -> Counter[str]:
        """Answers that count, by item."""
        return Counter(item for number in self.counted for item in self.sessions[number].items)


def recruit(dealer: Dealer[U], how: Recruitment, seed: int, *, arrivals: int | None = None) -> Recruited:
    """Let people come to a new dealer until nothing is needed, or until `arrivals` have come, and wait for all to end.

    seed: of the people's fates, keyed by their numbers, so that they are the same people under every rule
    """
    found, now, number = Recruited(), 0.0, 0
    running: list[tuple[float, int, bool]] = []  # end, number, whether it counts

    def end(until: float) -> None:
        while running and running[0][0] <= until:
            _, ended, counts = heapq.heappop(running)
            dealer.end(ended, counts)
            if counts:
                found.counted.append(ended)

    while (running or dealer.open) if arrivals is None else number < arrivals:
        number, now = number + 1, now + how.every
        end(now)
        dealt = dealer.deal(number)
        if dealt is None:
            found.n_turned_away += 1
            continue
        found.sessions[number] = dealt
        lasts, counts = _fate(how, seed, number)
        heapq.heappush(running, (now + lasts, number, counts))
    end(math.inf)
    return found


def _fate(how: Recruitment, seed: int, number: int) -> tuple[float, bool]:
    """Seconds until the session of a person ends for the dealer, and whether it counts."""
    leaves, fails, length = generator(seed, "recruitment", number).random(3)
    if leaves < how.drop_out:
        return how.time_out, False
    return how.shortest + (how.longest - how.shortest) * length, bool(fails >= how.refused)
