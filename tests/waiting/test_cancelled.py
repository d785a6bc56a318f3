"""A request that waits and is cancelled, wherever it stands: it is charged nothing, or its app was called."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Any, NamedTuple, get_args

import pytest

from ratelimit.model import Charge, Decision, Message
from tests.acceptance import plain
from tests.cancellation import Cancellation, Place, When, waits
from tests.stores import open_slots
from tests.waiting import EMPTY, Asked, Street, scope_of, stepped

LIMITS = (
    '{ name = "requests", rate = "2/second", precision = 1, cost = { create = 2 } },'
    ' { name = "monthly", quota = "1000/month", cost = { create = 2 } }, { name = "slots", concurrency = 100 }'
)
CREATE = '[operations]\ncreate = ["GET /c"]'
ELSEWHERE = {
    ("waiting/turns.py", "Turns.closing.received"),  # at start and shutdown
    ("waiting/watch.py", "Watch._listen"),  # a task of its own
    ("waiting/watch.py", "Watch._handed_on"),  # of the app
}


class Slow(Asked):
    """A store that takes a moment to decide, and to answer."""

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        await asyncio.sleep(0.001)
        decision = await super().acquire(charges)
        await asyncio.sleep(0.001)
        return decision


class Case(NamedTuple):
    """Who comes before, and what they are answered; then one request that is cancelled."""

    path: str
    before: list[int]
    taken: bool = False  # somebody in another process takes what is free at last


CASES = [
    Case("/7", [200, 200]),  # it is the first of the line
    Case("/7", [200, 200, 200]),
    Case("/c", [200, 200, 200]),
    Case("/c", [200, 200, 429], taken=True),  # it costs more than who stands before it: only the store knows its wait
]


async def walked(case: Case, when: When, at: int) -> set[Place]:
    """Cancelled at its suspension number `at`."""
    entered = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        entered.append(scope["path"])
        await receive()
        await plain(scope, receive, send)

    async def receive() -> Message:
        if received:
            return received.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(_: Message) -> None:
        await asyncio.sleep(0)

    received = [EMPTY]
    street = Street('{ up_to = "2500ms" }', LIMITS, app, store=Slow(), more=CREATE)
    charges = street.app.policy.charges(street.app._identify(scope_of()), "detail_read")

    async def take() -> None:
        await asyncio.sleep(1.995)
        await street.store.charge(charges[:1], 2)

    other = asyncio.get_running_loop().create_task(take()) if case.taken else None
    for _ in case.before:
        street.call()
    await asyncio.sleep(0.01)
    cancellation = Cancellation(at, when)
    await asyncio.wait([cancellation.task(street.app(scope_of(case.path), receive, send))])
    assert [status for status, _ in await street.answers()] == case.before
    if other:
        await other
    await asyncio.sleep(0.01)
    used = (await street.store.peek(charges[1:2], 0)).states[0].used
    served = entered.count("/c") * 2 + entered.count("/7")
    asking = any(wait.holds(place) for wait in ACQUIRES for place in cancellation.places)
    assert used - served in ((0, 2 if case.path == "/c" else 1) if asking else (0,))
    assert asking or open_slots(street.store) == 0
    assert [(here.lines, here.waiting) for here in street.app._turns._here.values()] in ([], [({}, {})])
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return set(cancellation.places)


ACQUIRES = [wait for wait in waits("middleware.py", "waiting/turns.py") if ".acquire(" in wait.text]


@pytest.mark.parametrize("when", get_args(When))
def test_at_every_await(when: When) -> None:
    """Cancelled at any of its suspensions, before and after what it waited for was there: nothing is left of it, the
    others are served in their time, and no unit is charged but while the store was asked or the app was called."""
    reached: set[Place] = set()

    async def walk(case: Case, at: int, found: set[Place]) -> None:
        found |= await walked(case, when, at)

    for case in CASES:
        for at in count(1):
            found: set[Place] = set()
            stepped(partial(walk, case, at, found))
            reached |= found
            if not found:
                break
    files = ("waiting/turns.py", "waiting/line.py", "waiting/watch.py")
    expected = {wait for wait in waits(*files) if (wait.file, wait.function) not in ELSEWHERE}
    assert expected - {wait for wait in expected if any(map(wait.holds, reached))} == set()
