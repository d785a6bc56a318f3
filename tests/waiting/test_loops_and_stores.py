"""Waiting on trio, and on a store on Redis: the same as on asyncio in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from ratelimit import RateLimitMiddleware
from ratelimit.model import Charge, Message
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import ask, plain, policy, scope_of
from tests.servers import Server
from tests.stores import Subject, open_slots
from tests.waiting import EMPTY, GONE, ONE_A_SECOND, Street, T, stepped


def waiting(store: Any, limits: str = ONE_A_SECOND, wait: str = '{ up_to = "3s" }') -> RateLimitMiddleware:
    made = policy(f"{limits} ]\nwait = {wait}\n# [")
    return RateLimitMiddleware(plain, made, store=store)


def test_on_trio() -> None:
    """In order, for no longer than the tier says, and without who hangs up or is cancelled."""
    answers: dict[int, tuple[int, int]] = {}

    async def main() -> None:
        start = trio.current_time()

        def now_ms() -> int:
            return round((trio.current_time() - start) * 1_000)

        app = waiting(MemoryStore(clock=lambda: T + now_ms()))

        async def call(number: int, hangs_up: float = 0.0, patience: float = 100.0) -> None:
            received = [EMPTY]

            async def receive() -> Message:
                if received:
                    return received.pop()
                await trio.sleep(hangs_up or float("inf"))
                return GONE

            async def send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    answers[number] = (message["status"], now_ms())

            with trio.move_on_after(patience):
                await app(scope_of(), receive, send)

        async with trio.open_nursery() as nursery:
            for number, rest in enumerate([(), (1.0,), (0.0, 1.5), (), ()]):
                nursery.start_soon(call, number, *rest)
                await trio.testing.wait_all_tasks_blocked()
        (here,) = app._turns._here.values()
        assert (here.lines, here.waiting) == ({}, {})

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.001))
    assert answers == {0: (200, 0), 1: (429, 1_000), 3: (200, 2_000), 4: (429, 2_000)}


@pytest.mark.parametrize("name", ["valkey", "redis"])
def test_on_redis(name: str, request: pytest.FixtureRequest) -> None:
    """The store is asked once by who comes, and once when a unit can be free."""
    server: Server = request.getfixturevalue(name)
    subject = Subject(name, server.unix_url, server).at(T)
    asked = []
    app = waiting(subject.store, '{ name = "requests", rate = "1/second", precision = 10 }', '{ up_to = "1200ms" }')
    took = subject.store.acquire

    def acquire(charges: Sequence[Charge]) -> Any:
        asked.append(subject.now_ms - T)
        return took(charges)

    subject.store.acquire = acquire

    async def test() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        loop.call_later(1.0, lambda: subject.at(T + 1_100))
        answers = await asyncio.gather(*[ask(app) for _ in range(2)])
        assert [sent[0]["status"] for sent in answers] == [200, 200]
        assert loop.time() - start >= 1.1
        assert asked == [0, 0, 1_100]

    subject.run(test())


@pytest.mark.parametrize("at", [0.5, 2.0, 2.5])
def test_a_slot_is_not_lost(at: float) -> None:
    """Who waited for a unit and got a slot with it gives that back when it is cancelled, at whatever point."""
    limits = ONE_A_SECOND + ', { name = "slots", concurrency = 1 }'

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        street = Street('{ up_to = "3s" }', limits, app)
        charges = street.app.policy.charges(street.app._identify(scope_of()), "detail_read")
        await street.store.charge(charges[:1])
        call = street.call()
        await asyncio.sleep(at)
        call.task.cancel()
        await street.answers()
        assert open_slots(street.store) == 0
        assert street.store.asked == ([0] if at <= 2 else [0, 2_000])

    stepped(test)
