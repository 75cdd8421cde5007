"""Crowds of made-up participants, wave by wave, until nobody is needed any more.

Those of a wave ask for their sessions one after the other and then answer side by side; the next wave comes when all have ended.
So who gets which session hangs on nothing but the seed, however fast the machine is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from experiment.rehearsal.browsing import Visit
from experiment.rehearsal.walking import Walked, Walker
from study.log import logger

log = logger("rehearsal")

WAVE = 32  # people of a wave over HTTP
_MOST_WAVES = 50


@dataclass
class Crowd:
    """People by number of arrival, from 1.

    walker   makes the person with this number who comes over HTTP
    visits   make people who come by browser, one a wave as long as there are some; they take the first number of their wave
    """

    walker: Callable[[int], Walker]
    visits: Sequence[Callable[[int], Visit]]
    address: str
    size: int = WAVE
    walked: list[Walked] = field(default_factory=list)

    def all(self) -> list[Walked]:
        """Everybody who got a session, by number of arrival."""
        for wave in range(1, _MOST_WAVES + 1):
            came = self._wave(self.visits[wave - 1] if wave <= len(self.visits) else None)
            self.walked += came
            if not came:
                return self.walked
            ends = [each.outcome for each in came]
            told = ", ".join(f"{ends.count(outcome)} {outcome}" for outcome in sorted(set(ends)))
            log.info("simulated wave %d: %d people; %s", wave, len(came), told)
        raise RuntimeError(f"{_MOST_WAVES} waves of {self.size} simulated people did not suffice")

    def _wave(self, new_visit: Callable[[int], Visit] | None) -> list[Walked]:
        number = len(self.walked) + 1
        if new_visit is None:
            return asyncio.run(self._walk(number))
        visit = new_visit(number)
        visit.opened(self.address)
        found: list[Walked] = []
        failed: list[BaseException] = []

        def walk() -> None:
            try:
                found.extend(asyncio.run(self._walk(number + 1)))
            except BaseException as error:  # told below, in the thread that others see
                failed.append(error)

        thread = threading.Thread(target=walk, name="people over HTTP")
        thread.start()
        try:
            first = visit.done()
        finally:
            thread.join()
        if failed:
            raise failed[0]
        return [first, *found]

    async def _walk(self, first: int) -> list[Walked]:
        """Let people over HTTP begin one after the other until the wave is full or nobody is needed, then all go on."""
        wave: list[Walker] = []
        for number in range(first, first + self.size):
            walker = self.walker(number)
            if not await walker.start():
                await walker.client.close()
                break
            wave.append(walker)
        return list(await asyncio.gather(*(walker.run() for walker in wave)))
