"""Who is asked what: questions dealt out to people as they come, so that every unit gets its answers and none too many.

Sessions of a list are given out first, in their order. When the list is used up, a session is planned when its person comes:
the units that lack most answers, counting as there the answers that count and those that running sessions have reserved. A
session keeps its units until it ends; one that does not count gives them back. So a session is known when it starts, and
where units times answers is a multiple of the session's size the last session that counts leaves no unit short and none over.

Every session depends only on what has been dealt and how it ended, on the seed, the dealer's name and the number of the
session, so that the same people make the same sessions, and a dealer that was restored goes on as the one before it.

Departure: IMI (Zimmermann, Klein and Brendel, 2023) made all sessions beforehand and gave one that was not accepted to somebody
else as it was. Here its units go back to what is needed.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from interpretability import arguments
from interpretability.arguments import wrong
from interpretability.errors import InputError
from interpretability.randomness import combine, key64, permutations

U = TypeVar("U", bound=Hashable)  # what answers are counted for: a unit of a network, or a page of pictures
RUNNING, COUNTED, GIVEN_BACK = STATES = ("running", "counted", "given back")


@dataclass(frozen=True)
class Dealt:
    """One session: the items to ask in their order, the name of the listed session that it is (None: planned), and the
    dealer's name."""

    listed: str | None
    items: tuple[str, ...]
    name: str


class Dealer(Generic[U]):
    """Deals the items of one experiment.

    units   the unit of every item; a unit's items are its tasks, a page of pictures is its own only item
    needed  answers that each unit is to get, at least 1
    size    items a session, at least 1; fewer where fewer units are needed
    listed  sessions made beforehand, as (name, items); none of them may hold a unit twice
    seed, name  key of ties; the order of `units` is part of it

    Among the items of a unit the one with fewest answers, reserved ones counted, is asked; the first of equal ones. Raises
    InputError where the list holds an unknown item, a unit or name twice, or no item.
    """

    def __init__(
        self,
        units: Mapping[str, U],
        needed: int,
        size: int,
        listed: Sequence[tuple[str, Sequence[str]]],
        seed: int,
        name: str,
    ) -> None:
        self.name = name
        self._needed = arguments.count(needed, "needed")
        self._size = arguments.count(size, "size")
        self._key = np.uint64(key64("dealing", seed, name))
        self._unit_of = dict(units)
        self._places: dict[U, int] = {unit: place for place, unit in enumerate(dict.fromkeys(units.values()))}
        self._lacking = np.full(len(self._places), self._needed, dtype=np.int64)
        self._asked = dict.fromkeys(units, 0)
        self._items: list[list[str]] = [[] for _ in self._places]
        for item, unit in units.items():
            self._items[self._places[unit]].append(item)
        self._running: dict[int, Dealt] = {}
        self._numbers: set[int] = set()
        self._open_list = {session: tuple(items) for session, items in listed}
        if len(self._open_list) < len(listed):
            raise wrong("listed", "names a session twice; every session needs a name of its own")
        for session, items in self._open_list.items():
            self._check(session, items)

    def _check(self, session: str, items: Sequence[str]) -> None:
        if not items:
            raise wrong("listed", "has no items in session {session}", session=session)
        if unknown := [item for item in items if item not in self._unit_of]:
            raise wrong("listed", "has {item} in session {session}, no item", item=unknown[0], session=session)
        if len({self._unit_of[item] for item in items}) < len(items):
            raise wrong(
                "listed", "asks about a unit twice in session {session}; a person answers a unit once", session=session
            )

    @property
    def open(self) -> bool:
        """Whether anything is needed that no running session has reserved."""
        return bool((self._lacking > 0).any())

    @property
    def share(self) -> float:
        """Share of all answers that are still needed, reserved ones not counted as needed; from 0 to 1."""
        return float(np.maximum(self._lacking, 0).sum()) / max(len(self._lacking) * self._needed, 1)

    def remaining(self) -> dict[U, int]:
        """Answers that each unit still needs and no running session has reserved; never below 0."""
        return {unit: max(int(self._lacking[place]), 0) for unit, place in self._places.items()}

    def deal(self, number: int, exclude_units: Collection[U] = frozenset()) -> Dealt | None:
        """The session of the person who comes as number `number`; it is reserved until `end`. None: nothing is needed of
        what this person may see.

        exclude_units  units that the person has seen before
        """
        self._new(number)
        excluded = {self._places[unit] for unit in exclude_units if unit in self._places}
        dealt = self._from_list(excluded) or self._planned(number, excluded)
        if dealt is not None:
            self._take(number, dealt)
        return dealt

    def end(self, number: int, counted: bool, answered: Collection[str] | None = None) -> None:
        """The session has ended. If it counts, its answers do; if not, its units are needed again.

        answered  items whose answers count though the session does not, where that is so (pages of a rater who left)
        """
        if number not in self._running:
            raise wrong("number", "is {given}; no session of that number is running", given=number)
        dealt = self._running.pop(number)
        if counted and answered is not None:
            raise wrong("answered", "is for sessions that do not count; in one that counts all items do")
        kept = set(dealt.items) if counted else set(answered or ())
        if foreign := kept - set(dealt.items):
            raise wrong("answered", "has {item}, no item of session {session}", item=sorted(foreign)[0], session=number)
        for item in dealt.items:
            if item not in kept:
                self._lacking[self._places[self._unit_of[item]]] += 1
                self._asked[item] -= 1

    def restore(self, number: int, dealt: Dealt, state: str, answered: Collection[str] | None = None) -> None:
        """Enter a session that was dealt before, in any order: `running`, `counted` or `given back`."""
        arguments.choice(state, "state", STATES)
        self._new(number)
        if unknown := [item for item in dealt.items if item not in self._unit_of]:
            raise wrong("dealt", "has {item}, no item of {dealer}", item=unknown[0], dealer=self.name)
        self._take(number, dealt)
        if state != RUNNING:
            self.end(number, state == COUNTED, answered)

    def _new(self, number: int) -> None:
        if arguments.count(number, "number") in self._numbers:
            raise wrong("number", "is {given}; that session has been dealt", given=number)

    def _take(self, number: int, dealt: Dealt) -> None:
        self._numbers.add(number)
        self._running[number] = dealt
        if dealt.listed is not None:
            self._open_list.pop(dealt.listed, None)
        for item in dealt.items:
            self._lacking[self._places[self._unit_of[item]]] -= 1
            self._asked[item] += 1

    def _from_list(self, excluded: set[int]) -> Dealt | None:
        """The first session of the list that is needed as a whole and holds no excluded unit."""
        for session, items in self._open_list.items():
            places = [self._places[self._unit_of[item]] for item in items]
            if excluded.isdisjoint(places) and all(self._lacking[place] > 0 for place in places):
                return Dealt(session, items, self.name)
        return None

    def _planned(self, number: int, excluded: set[int]) -> Dealt | None:
        """A session of the units that lack most answers. Ties, and the order of the questions, are drawn."""
        draw, order = combine(combine(self._key, number), np.arange(2, dtype=np.uint64))
        turn = permutations(draw, len(self._lacking))
        wanted = [place for place in turn.tolist() if self._lacking[place] > 0 and place not in excluded]
        chosen = sorted(wanted, key=lambda place: -self._lacking[place])[: self._size]  # stable: ties stay as drawn
        items = [min(self._items[place], key=self._asked.__getitem__) for place in chosen]
        shuffled = tuple(items[place] for place in permutations(order, len(items)).tolist())
        return Dealt(None, shuffled, self.name) if shuffled else None


class Dealers(Generic[U]):
    """Several experiments that run side by side: a person gets a session of the one of which the largest share is needed."""

    def __init__(self, dealers: Sequence[Dealer[U]]) -> None:
        self.dealers = {dealer.name: dealer for dealer in dealers}
        if len(self.dealers) < len(dealers):
            raise wrong("dealers", "has two of one name; every experiment needs a name of its own")

    @property
    def open(self) -> bool:
        """Whether any experiment still needs somebody."""
        return any(dealer.open for dealer in self.dealers.values())

    def remaining(self) -> dict[str, dict[U, int]]:
        """`Dealer.remaining` of every experiment, by its name."""
        return {name: dealer.remaining() for name, dealer in self.dealers.items()}

    def deal(self, number: int, exclude_units: Collection[U] = frozenset()) -> Dealt | None:
        """As `Dealer.deal`, from the experiment with the largest share of answers still needed, the first of equal ones."""
        for dealer in sorted(self.dealers.values(), key=lambda dealer: -dealer.share):
            dealt = dealer.deal(number, exclude_units)
            if dealt is not None:
                return dealt
        return None

    def end(self, number: int, name: str, counted: bool, answered: Collection[str] | None = None) -> None:
        """As `Dealer.end`; `name` is that of the experiment."""
        self._named(name).end(number, counted, answered)

    def restore(self, number: int, dealt: Dealt, state: str, answered: Collection[str] | None = None) -> None:
        """As `Dealer.restore`, in the experiment that `dealt` names."""
        self._named(dealt.name).restore(number, dealt, state, answered)

    def _named(self, name: str) -> Dealer[U]:
        if name not in self.dealers:
            raise InputError(
                "{name} is {given!r}; the experiments are {names}", "name", given=name, names=", ".join(self.dealers)
            )
        return self.dealers[name]
