"""What is told to who stands in line and is not asked for, and who is woken for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ratelimit.model import Charge, Decision, State
from ratelimit.waiting.line import Line, Waiter, wait_ms
from tests.stores import concurrency, quota, rate
from tests.waiting import T, stepped

ONE, MONTHLY, FREE = rate(5, 60_000, key="one"), quota(100, key="monthly"), rate(9, 60_000, key="free", mode="shadow")


def state(charge: Charge, used: int, reset: int, wait: int | None = 0, *, exceeded: bool = False) -> State:
    shadow = charge.limit.mode == "shadow"
    return State(charge, charge.maxes[-1][1], used, reset, 60_000, exceeded, wait, shadow)


def denial(*states: State) -> Decision:
    return Decision(False, T, states)


def line_of(*states: State) -> Line:
    line = Line()
    line.denied(denial(*states), 100.0)
    return line


def test_a_denial_as_it_is_later() -> None:
    """Instants stay and durations go on, each to its end; what was never to pass never will; the charges are the
    caller's own. Elapsed milliseconds are rounded down, so that no wait is told too short."""
    states = [
        state(ONE, 5, 61_000, 2_000, exceeded=True),
        state(MONTHLY, 7, 1_500),
        state(FREE, 9, 500, None, exceeded=True),
    ]
    mine: Sequence[Charge] = [Charge(s.limit, s.charge.key, 3, s.charge.maxes) for s in states]
    told = line_of(*states).told(mine, 101.2508)
    assert (told.allowed, told.now_ms) == (False, T + 1_250)
    assert [s.charge for s in told.states] == mine
    assert [s.reset_after_ms for s in told.states] == [59_750, 250, 0]
    assert [s.retry_after_ms for s in told.states] == [750, 0, None]
    assert [s.used for s in told.states] == [5, 7, 9]
    late = line_of(*states).told(mine, 105.0)
    assert [s.retry_after_ms for s in late.states] == [1, 0, None]
    assert [s.reset_after_ms for s in late.states] == [56_000, 0, 0]


def test_who_can_pass_at_all() -> None:
    """Not who costs more than any one of the maxes, but of those in shadow; all of one is possible."""
    line = line_of(state(ONE, 5, 61_000, 2_000, exceeded=True), state(MONTHLY, 7, 1_500), state(FREE, 9, 500))

    def costs(*units: int) -> list[Charge]:
        limits = (ONE, MONTHLY, FREE)
        return [Charge(c.limit, c.key, cost, c.maxes) for c, cost in zip(limits, units, strict=True)]

    assert line.can_admit(costs(5, 100, 10))
    assert not line.can_admit(costs(6, 1, 1))
    assert not line.can_admit(costs(1, 101, 1))
    assert line.costs(costs(1, 1, 1))
    assert not line.costs(costs(1, 2, 1))


def test_the_wait_of_a_denial() -> None:
    """That of what denies for the longest time; none where a slot is wanting, or nothing denies, or it is for ever."""
    short, long = state(ONE, 5, 61_000, 2_000, exceeded=True), state(MONTHLY, 100, 9_000, 9_000, exceeded=True)
    assert wait_ms(denial(short, long)) == 9_000
    assert wait_ms(denial(short, state(FREE, 9, 500, 90_000, exceeded=True))) == 2_000
    assert wait_ms(denial(short, state(concurrency(1), 1, 60_000, 1_000, exceeded=True))) is None
    assert wait_ms(denial(short, state(concurrency(2), 1, 60_000))) == 2_000
    assert wait_ms(denial(short, state(concurrency(1, mode="shadow"), 1, 60_000, 1_000, exceeded=True))) == 2_000
    assert wait_ms(denial(state(ONE, 5, 61_000, None, exceeded=True))) is None
    assert wait_ms(denial()) is None
    assert line_of(short).free_at == 102.0


def test_who_waits_in_vain_is_woken() -> None:
    """As soon as it is known that a turn comes too late: those alone, and nobody is woken twice by an old timer."""
    woken = []

    async def wait(waiter: Waiter, name: str) -> None:
        await waiter.woken(50.0)
        woken.append((name, asyncio.get_running_loop().time()))

    async def test() -> None:
        loop, line = asyncio.get_running_loop(), Line()
        line.waiters += [Waiter(loop, (), until) for until in (1.9, 2.0, 2.1)]
        tasks = [loop.create_task(wait(one, name)) for one, name in zip(line.waiters, "abc", strict=True)]
        await asyncio.sleep(0)
        line.denied(denial(state(ONE, 5, 61_000, 2_000, exceeded=True)), loop.time())
        await asyncio.sleep(1)
        assert woken == [("a", 0.0)]
        line.leave(line.waiters[0])
        line.waiters[1].leave()
        await asyncio.gather(*tasks)
        assert woken[1:] == [("b", 1.0), ("c", 1.0)]
        assert [waiter.gone for waiter in line.waiters] == [False, True]
        assert not [timer for timer in loop._scheduled if not timer.cancelled()]

    stepped(test)
