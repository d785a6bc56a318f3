"""When those who wait are told that it was too long, on a clock that jumps: nobody waits here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from ratelimit.stores.connection.deadline import TURNS, DeadlineTimer
from tests.clocked import Clocked

GRACE = 0.5


class Waiting:
    """Those who wait, by their deadlines, and when which of them were told."""

    def __init__(self, loop: Clocked, grace: float = GRACE) -> None:
        self._began = loop.time()
        self._loop = loop
        self.deadlines: list[float] = []
        self.rung: list[tuple[float, float]] = []  # the deadline, and when it was told; s, to a tenth
        self.alarm = DeadlineTimer(lambda: grace, lambda: min(self.deadlines, default=None), self._ring)

    def wait(self, seconds: float) -> float:
        deadline = self._loop.time() + seconds
        self.deadlines.append(deadline)
        if self.alarm.timer is None:
            self.alarm.set()
        return deadline

    def _ring(self, deadline: float) -> None:
        self.rung.append((round(deadline - self._began, 1), round(self._loop.time() - self._began, 1)))
        self.deadlines = [other for other in self.deadlines if other > deadline]


@pytest.fixture
def loop() -> Iterator[Clocked]:
    loop = Clocked()
    yield loop
    loop.close()


def test_one_timer_for_all(loop: Clocked) -> None:
    """Each is told when its own time is up, of those with the same time all at once, and then there is no timer."""

    async def test() -> None:
        waiting = Waiting(loop)
        waiting.wait(1.0)
        timer = waiting.alarm.timer
        waiting.deadlines.append(waiting.deadlines[0])
        waiting.wait(2.0)
        assert waiting.alarm.timer is timer
        await asyncio.sleep(10)
        assert waiting.rung == [(1.0, 1.0), (2.0, 2.0)]
        assert waiting.alarm.timer is None
        waiting.alarm.set()  # for nobody
        assert waiting.alarm.timer is None
        waiting.wait(1.0)
        await asyncio.sleep(10)
        assert waiting.rung[2:] == [(11.0, 11.0)]

    loop.run_until_complete(test())


def test_who_was_answered_is_not_told(loop: Clocked) -> None:
    """Who no longer waits when the timer goes is left out, and the timer is set for the next."""

    async def test() -> None:
        waiting = Waiting(loop)
        answered = waiting.wait(1.0)
        waiting.wait(1.5)
        waiting.deadlines.remove(answered)
        await asyncio.sleep(10)
        assert waiting.rung == [(1.5, 1.5)]

    loop.run_until_complete(test())


@pytest.mark.parametrize("turns", range(TURNS + 1))
def test_a_reply_that_has_arrived_is_read_first(loop: Clocked, turns: int) -> None:
    """When the time is up the loop turns a few times more: what it finds to read then is in time."""

    async def test() -> None:
        waiting = Waiting(loop)
        deadline = waiting.wait(1.0)

        def answer(left: int) -> None:
            if left:
                loop.call_soon(answer, left - 1)
            elif waiting.deadlines:
                waiting.deadlines.remove(deadline)

        loop.call_at(deadline, answer, turns)
        await asyncio.sleep(10)
        assert bool(waiting.rung) == (turns >= TURNS)

    loop.run_until_complete(test())


@pytest.mark.parametrize(("busy", "told_after"), [(0.3, 0.6), (5.0, 5.5)])
def test_a_process_that_was_busy(loop: Clocked, busy: float, told_after: float) -> None:
    """For as long as the loop did not turn it waits again, for the grace at most, and only once."""

    async def test() -> None:
        waiting = Waiting(loop)
        waiting.wait(1.0)
        loop.jumped += 1.0 + busy  # the app blocks its event loop
        await asyncio.sleep(0)
        await asyncio.sleep(20)
        ((_, told),) = waiting.rung
        assert told == round(1.0 + told_after, 1)

    loop.run_until_complete(test())


def test_who_comes_at_the_end_of_a_standstill_has_grace_of_its_own(loop: Clocked) -> None:
    """Also in the same millisecond, which is as fine as some loops tell the time, and at the next standstill."""

    async def test() -> None:
        waiting = Waiting(loop, grace=1.0)
        first = waiting.wait(1.0)

        def answered_and_asked_again() -> None:
            waiting.deadlines.remove(first)
            waiting.wait(1.0)
            loop.jumped += 2.0  # the app blocks its event loop again

        loop.call_at(first + 1e-6, answered_and_asked_again)
        loop.jumped += 3.0  # the app blocks its event loop
        await asyncio.sleep(0)
        await asyncio.sleep(20)
        assert [told for _, told in waiting.rung] == [6.0]  # came at 3, was blocked until 5, has a second's grace

    loop.run_until_complete(test())


def test_a_second_standstill_in_the_grace_for_the_first(loop: Clocked) -> None:
    """Whose time was up in the first is told; whose time is up in the second has grace for that."""

    async def test() -> None:
        waiting = Waiting(loop, grace=1.0)
        waiting.wait(1.0)
        waiting.wait(3.5)
        loop.jumped += 3.0  # the app blocks its event loop
        await asyncio.sleep(0.1)
        loop.jumped += 1.9  # and again
        await asyncio.sleep(20)
        assert waiting.rung == [(3.0, 5.0), (6.0, 6.0)]

    loop.run_until_complete(test())


def test_grace_is_not_added_up(loop: Clocked) -> None:
    """All whose time is up while the loop stands still, or in the grace for that, have that one grace; who comes later
    has his own time."""

    async def test() -> None:
        waiting = Waiting(loop)
        for seconds in (1.0, 1.1, 1.2, 1.5, 1.7, 2.2):
            waiting.wait(seconds)
        loop.jumped += 1.3  # the app blocks its event loop
        await asyncio.sleep(20)
        assert [told for _, told in waiting.rung] == [1.6, 1.7, 2.2]
        assert [deadline for deadline, _ in waiting.rung] == [1.6, 1.7, 2.2]

    loop.run_until_complete(test())


def test_grace_is_of_the_loop(loop: Clocked) -> None:
    """Who waited for one thing in that grace, and waits for the next, has no other; after another standstill of the
    loop those have it whose time was up in that."""

    async def test() -> None:
        first, second = Waiting(loop), Waiting(loop)
        deadline = first.wait(1.0)
        loop.jumped += 1.3
        await asyncio.sleep(0.1)
        assert first.rung == []
        second.deadlines.append(deadline)  # what it waited for came in the grace
        first.deadlines.clear()
        second.alarm.set()
        await asyncio.sleep(1.0)
        assert [told for _, told in second.rung] == [1.6]
        second.deadlines.append(deadline)
        second.alarm.set()
        await asyncio.sleep(1.0)
        assert [told for _, told in second.rung[1:]] == [2.4]  # all of it is over
        second.wait(1.0)
        loop.jumped += 1.2
        await asyncio.sleep(5.0)
        assert [told for _, told in second.rung[2:]] == [4.8]

    loop.run_until_complete(test())


def test_who_is_known_to_be_away_has_no_grace(loop: Clocked) -> None:
    """Without grace those are told at once whose time was up while the loop stood still, all of them together."""

    async def test() -> None:
        waiting = Waiting(loop, grace=0.0)
        for seconds in (1.0, 1.1, 1.5):
            waiting.wait(seconds)
        loop.jumped += 1.3
        await asyncio.sleep(20)
        assert [told for _, told in waiting.rung] == [1.3, 1.5]

    loop.run_until_complete(test())


def test_stopped(loop: Clocked) -> None:
    """A stopped alarm tells nobody, and may be stopped again."""

    async def test() -> None:
        waiting = Waiting(loop)
        waiting.wait(1.0)
        waiting.alarm.stop()
        waiting.alarm.stop()
        await asyncio.sleep(10)
        assert waiting.rung == []
        assert waiting.alarm.timer is None

    loop.run_until_complete(test())
