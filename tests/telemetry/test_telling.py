"""What is told is told in time, once, whatever the process does; and what a telemetry raises gets nowhere."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from ratelimit import Charge, Decision, Identity, MemoryStore, RateLimitMiddleware, RedisStore, StoreUnavailable
from ratelimit.fastapi import deferred
from ratelimit.telemetry import journal, telling
from ratelimit.telemetry.hook import Counts, Decided, Watcher
from ratelimit.telemetry.journal import BATCH
from ratelimit.telemetry.sources import Sources
from ratelimit.telemetry.telling import Telling
from ratelimit.telemetry.timed import SAMPLE
from tests.acceptance import T, ask, driven, limited, plain, policy, run, scope_of
from tests.control import Away
from tests.telemetry import Told, told
from tests.waiting import SteppedLoop

LIMITS = '{ name = "requests", rate = "1000000/minute" }'
ANA = Identity(user="ana", tier="basic")


def limiter_of(telemetry: Any, **rest: Any) -> RateLimitMiddleware:
    return limited(plain, LIMITS, telemetry=telemetry, **rest)


def stepped(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """On a loop whose time goes on when nobody has anything to do."""
    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        runner.run(test())


def total(telemetry: Told) -> int:
    return telemetry.decisions.total()


def test_within_a_second() -> None:
    """What few requests come to is told a second later, and then nothing more: no timer goes on for nobody."""

    async def test() -> None:
        telemetry = Told()
        limiter = limiter_of(telemetry)
        for _ in range(3):
            await ask(limiter)
        assert total(telemetry) == 0
        await asyncio.sleep(1.01)
        assert (total(telemetry), telemetry.times) == (3, 1)
        await asyncio.sleep(10)
        assert telemetry.times == 1
        await ask(limiter)
        await asyncio.sleep(1.01)
        assert (total(telemetry), telemetry.times) == (4, 2)

    stepped(test)


def test_a_hundred_at_a_time() -> None:
    """Many are not kept for a second: what they refer to would be in the way of the garbage collector."""

    async def test() -> None:
        telemetry = Told()
        limiter = limiter_of(telemetry, more='[operations]\nexempt = ["GET /health"]')
        for _ in range(BATCH):
            await ask(limiter)
        assert total(telemetry) == BATCH
        for _ in range(BATCH):
            await ask(limiter, "/health")
        assert total(telemetry) == 2 * BATCH

    run(test())


class Raising:
    """A telemetry that raises whatever it is asked."""

    def count(self, counts: Counts) -> None:
        raise ValueError("count \x1b[31m")

    def watcher(self) -> Watcher | None:
        raise KeyError("watcher")


def test_a_telemetry_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """Requests go on, and each method's first error is in the log, where it can do nothing to a terminal."""

    async def test() -> None:
        limiter = limiter_of(Raising())
        for _ in range(3):
            for _ in range(BATCH):
                assert (await ask(limiter))[0]["status"] == 200
        await limiter._close()

    run(test())
    lines = [record.getMessage() for record in caplog.records if record.name == "ratelimit"]
    assert [line.partition(" ")[0] for line in lines] == ["Raising.watcher", "Raising.count"]
    assert all("requests go on" in line and "\x1b" not in line for line in lines)
    assert [record.ratelimit_method for record in caplog.records] == ["watcher", "count"]  # type: ignore[attr-defined]


def test_watchers() -> None:
    """Who wants to hear of a decision at once hears it in the context of its request, before the app."""
    heard: list[tuple[Decided, bool, str]] = []

    class Watching(Told):
        def watcher(self) -> Watcher | None:
            task = asyncio.current_task()
            name = task.get_name() if task else ""
            return (
                None if name == "nobody" else lambda decided, decision: heard.append((decided, decision.allowed, name))
            )

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert heard
        await plain(scope, receive, send)

    async def test() -> None:
        limiter = limited(app, '{ name = "requests", rate = "1/minute" }', telemetry=Watching())
        for name in ("first", "second", "nobody"):
            await asyncio.create_task(ask(limiter), name=name)
        of = ("request", "detail_read", "basic")
        assert heard == [
            (Decided(*of, "", "allowed"), True, "first"),
            (Decided(*of, "requests", "denied"), False, "second"),
        ]
        assert told(limiter).decisions.total() == 3

    run(test())


def test_another_who_hears_of_decisions() -> None:
    """One that is there besides is told of each decision first, and the count is the same."""
    telemetry, noted = Told(), []
    limiter = limiter_of(telemetry)
    both = limiter._heard(lambda identity, operation, charges, decision: noted.append(decision.allowed))
    assert both is not None
    for allowed in (True, False):
        both(ANA, "search", (), Decision(allowed, 0))
    assert noted == [True, False]
    assert told(limiter).decisions == {Decided("request", "search", "basic", "", "allowed"): 1}


def test_threads() -> None:
    """Event loops in several threads lose none and count none twice."""
    telemetry = Told()
    limiter = limiter_of(telemetry)

    async def many() -> None:
        for _ in range(1_000):
            await ask(limiter)

    threads = [threading.Thread(target=run, args=(many(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told(limiter).decisions.total() == 4_000


def test_a_thread_that_counts() -> None:
    """While one counts, the others leave it to that, and the end of the process waits a second for it."""
    telemetry = Told()
    limiter = limiter_of(telemetry)
    of: Any = limiter._telling

    async def test() -> None:
        of._lock.acquire()
        for _ in range(BATCH):
            await ask(limiter)
        await asyncio.sleep(1.01)
        assert total(telemetry) == 0
        of._lock.release()
        await asyncio.sleep(1.01)
        assert total(telemetry) == BATCH

    stepped(test)


def test_a_telemetry_that_does_not_end(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """On another thread: what is kept for it has a bound, and beyond that it is in the log what becomes of it."""
    monkeypatch.setattr(journal, "MOST", 10 * journal.WHOLE)
    limiter = limiter_of(Told())
    of: Any = limiter._telling
    of._lock.acquire()
    for _ in range(25 * BATCH):
        of.decided(ANA, "search", Decision(True, 0))
        assert len(of._journal.requests) <= 10 * journal.WHOLE
    of._lock.release()
    assert told(limiter).decisions.total() == 5 * BATCH
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith("TimeoutError('it does not come to an end')")


def test_an_end_while_another_thread_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for for ever."""
    monkeypatch.setattr(telling, "WAIT", 0.001)
    limiter = limiter_of(Told())
    of: Any = limiter._telling
    of._lock.acquire()
    of.close()
    of._lock.release()


def test_loops_that_come_and_go() -> None:
    """What is told on a loop that ended, or that stands still, is told by the next."""
    telemetry = Told()
    limiter = limiter_of(telemetry)
    of: Any = limiter._telling

    async def one() -> None:
        await ask(limiter)

    async def another() -> None:
        of._due = 0.5  # its loop is late
        await ask(limiter)
        for _ in range(BATCH):
            await ask(limiter)
        await asyncio.sleep(1.01)

    stepped(one)
    stepped(another)
    assert total(telemetry) == BATCH + 2


def test_a_timer_whose_place_was_taken() -> None:
    """It does nothing when its loop goes on."""

    async def test() -> None:
        telemetry = Told()
        limiter = limiter_of(telemetry)
        of: Any = limiter._telling
        await ask(limiter)
        of._due += 100
        await asyncio.sleep(1.5)
        assert telemetry.times == 0

    stepped(test)


def test_what_comes_while_a_timer_ends() -> None:
    """Of another thread, which took the timer for one that goes on."""

    async def test() -> None:
        telemetry = Told()
        limiter = limiter_of(telemetry)
        of: Any = limiter._telling
        counted = of._count

        def between(**how: bool) -> bool:
            found: bool = counted(**how)
            of._journal.request(ANA, "search", Decision(True, 0))
            of._count = counted
            return found

        of._work()
        of._count = between
        await asyncio.sleep(2.1)
        assert total(telemetry) == 1

    stepped(test)


def test_without_a_loop() -> None:
    """Neither asyncio nor trio: a hundred are told at once, and the rest at the end."""
    telemetry = Told()
    limiter = limiter_of(telemetry)
    of: Any = limiter._telling
    for _ in range(BATCH + 7):
        of.decided(ANA, "search", Decision(True, 0))
    assert total(telemetry) == BATCH
    telling.tell_all()
    assert total(telemetry) == BATCH + 7


def test_on_trio() -> None:
    """As on asyncio."""
    telemetry = Told()

    async def test() -> None:
        limiter = limiter_of(telemetry)
        await ask(limiter)
        await trio.sleep(1.01)

    trio.run(test, clock=trio.testing.MockClock(autojump_threshold=0))
    assert total(telemetry) == 1


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="no fork here")
def test_a_fork() -> None:
    """What a process was forked with is its parent's to tell."""
    telemetry = Told()
    limiter = limiter_of(telemetry)

    async def some() -> None:
        for _ in range(5):
            await ask(limiter)

    run(some())
    telling._forked()  # as in a child
    run(some())
    assert told(limiter).decisions.total() == 5


def test_a_middleware_that_is_gone() -> None:
    """It goes with all that it told, at once: nothing of it refers to itself."""
    gc.collect()
    gc.disable()
    try:
        limiter = limiter_of(Told())
        run(asked(limiter))
        of = weakref.ref(limiter._telling)  # type: ignore[arg-type]
        del limiter
        assert of() is None
    finally:
        gc.enable()


async def asked(limiter: RateLimitMiddleware) -> None:
    await ask(limiter)


def test_who_is_never_known_and_closed() -> None:
    """A call that is closed, perhaps in the middle of the telemetry's own work, is told with the next."""

    async def stays(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        telemetry = Told()
        limiter = limited(stays, LIMITS, identify=deferred(), telemetry=telemetry)
        of: Any = limiter._telling
        of._work = None  # whoever calls it fails
        task = asyncio.create_task(driven(ask(limiter), "close"))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        await task
        assert told(limiter).outcomes() == {("detail_read", "anonymous", "", "allowed"): 1}

    run(test())


def test_time_in_the_store() -> None:
    """A sample of each batch is timed, also what is asked in vain; a store that never waits is not."""

    class Waiting(Away):
        at_once = False
        more = "said by the store"

    async def test() -> None:
        store = Waiting(lambda: T)
        limiter = RateLimitMiddleware(plain, policy(LIMITS), store=store, telemetry=Told())
        timed: Any = limiter.store
        assert timed.more == "said by the store"
        for _ in range(BATCH - 1):
            await ask(limiter)
        assert len(told(limiter).store_seconds) == SAMPLE
        store.away = {"acquire"}
        await ask(limiter)
        found = told(limiter)
        assert len(found.store_seconds) == SAMPLE + 1
        assert all(0 <= seconds < 10 for seconds in found.store_seconds)
        memory = limiter_of(Told())
        await ask(memory)
        assert told(memory).store_seconds == []

    run(test())


def test_a_request_that_is_cancelled_while_it_is_timed() -> None:
    """The store hears of it as it does without; the time counts, and a decision there is none."""

    class Slow(Away):
        at_once = False
        ended = ""

        async def acquire(self, charges: Sequence[Charge]) -> Decision:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.ended = "cancelled"
                raise
            return await super().acquire(charges)

    async def test() -> None:
        store = Slow(lambda: T)
        limiter = RateLimitMiddleware(plain, policy(LIMITS), store=store, telemetry=Told())
        task = asyncio.create_task(ask(limiter))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        found = told(limiter)
        assert (store.ended, len(found.store_seconds), total(found)) == ("cancelled", 1, 0)

    run(test())


class Odd(Away):
    """A store that counts by itself, and to which nothing can refer weakly."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]
    down = 0

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock)
        self.beyond: Counter[str] = Counter()

    @property
    def beyond_max(self) -> Counter[str]:  # type: ignore[override]
        return self.beyond

    def out_of_reach(self) -> int:
        return self.down


@pytest.mark.parametrize("odd", [False, True])
def test_what_others_count(odd: bool) -> None:
    """Callers, edits and servers that are away: of the middlewares that share them one tells, and each change once."""

    class Usual(Odd):
        __hash__ = object.__hash__

    edits: Counter[str] = Counter(taken=3)

    def reloads() -> Counter[str]:
        return edits

    store = (Odd if odd else Usual)(lambda: T)
    store.beyond = Counter(dropped=2)
    first, second = (Sources(store, [Counter()], reloads) for _ in range(2))
    store.beyond, store.down = Counter(dropped=5, above=1), 2
    edits["refused"] += 1
    told_first, told_second = first.news(ends=False), second.news(ends=False)
    assert told_first == (Counter(), {"dropped": 3, "above": 1}, {"refused": 1}, 2)
    assert told_second == (Counter(), {"dropped": 3, "above": 1} if odd else Counter(), Counter(), 2 if odd else 0)
    assert first.away == 2
    assert first.news(ends=True).away == -2
    del first
    assert second.news(ends=False).away == (0 if odd else 2)  # now it is this one's to tell


def test_a_server_that_is_away() -> None:
    """It is told at the next second, and goes on being looked at while nobody asks; at the end none is away."""

    async def test() -> None:
        telemetry, store = Told(), Odd(lambda: T)
        limiter = RateLimitMiddleware(plain, policy(LIMITS), store=store, telemetry=telemetry)
        store.down = 1
        await ask(limiter)
        await asyncio.sleep(1.01)
        assert telemetry.stores_down == 1
        await asyncio.sleep(60)
        store.down = 0
        await asyncio.sleep(1.01)
        assert telemetry.stores_down == 0
        store.down = 1
        await ask(limiter)
        await asyncio.sleep(1.01)
        assert telemetry.stores_down == 1
        await limiter._close()
        assert telemetry.stores_down == 0

    stepped(test)


def test_a_redis_that_is_away() -> None:
    """Its connections over which nobody is decided for are counted; one that nobody has asked for is none of them."""

    async def test() -> None:
        store = RedisStore("redis://127.0.0.1:1")
        assert store.out_of_reach() == 0
        with pytest.raises(StoreUnavailable):
            await store.acquire(policy(LIMITS).charges(ANA, "search"))
        assert store.out_of_reach() == 1
        await store.close()
        assert store.out_of_reach() == 0

    run(test())


def test_slots_that_are_reclaimed(caplog: pytest.LogCaptureFixture) -> None:
    """Of a caller who hung up a lease ago, by the limit."""

    async def stays(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()
        await asyncio.sleep(5)

    async def test() -> None:
        telemetry = Told()
        cap = '{ name = "cap", concurrency = 1, lease = "1s" }'
        limiter = limited(stays, cap, telemetry=telemetry)
        messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            return next(messages, {"type": "http.disconnect"})

        async def send(_: Any) -> None: ...

        await limiter(scope_of(), receive, send)
        assert told(limiter).slots_reclaimed == {"cap": 1}

    stepped(test)
    (line,) = [record for record in caplog.records if "1 slot given back" in record.getMessage()]
    assert (line.ratelimit_event, line.ratelimit_limit, line.ratelimit_count) == ("slots_reclaimed", "cap", 1)  # type: ignore[attr-defined]


ENDING = """
import asyncio
import atexit
from tests.telemetry.test_telling import asked, limiter_of
from ratelimit.telemetry.hook import Counts

class Printing:
    def count(self, counts):
        print(sum(counts.decisions.values()), flush=True)

atexit.register(print, "the exporter is shut down")
limiter = limiter_of(Printing())
asyncio.run(asked(limiter))
"""


def test_the_end_of_a_process() -> None:
    """Where no lifespan said that it comes, it is told all the same, and before what exports it is shut down."""
    done = subprocess.run(
        [sys.executable, "-c", ENDING], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\nthe exporter is shut down\n"


def test_a_lifespan_that_ends() -> None:
    """All is told before the server hears that the app has ended, also where the store can't be closed."""

    class Stuck(MemoryStore):
        async def close(self) -> None:
            raise StoreUnavailable("gone")

    async def test() -> None:
        telemetry = Told()
        limiter = RateLimitMiddleware(plain, policy(LIMITS), store=Stuck(lambda: T), telemetry=telemetry)
        await ask(limiter)
        await limiter._close()
        assert total(telemetry) == 1

    run(test())


def test_an_edited_policy() -> None:
    """From when it is in force its names are declared, and not before; each request is counted once as ever."""

    async def test() -> None:
        limiter = limiter_of(Told())
        edited = policy(LIMITS, more='[operations]\nbrand_new = ["GET /items/{id}"]')
        prepared = limiter._under(edited)
        await ask(limiter)
        limiter._put(prepared)
        await ask(limiter)
        allowed = {("detail_read", "basic", "", "allowed"): 1, ("brand_new", "basic", "", "allowed"): 1}
        assert told(limiter).outcomes() == allowed

    run(test())


def test_nothing_is_logged_by_it(caplog: pytest.LogCaptureFixture) -> None:
    """A telemetry that does its work is no line in the log."""
    caplog.set_level(logging.DEBUG, "ratelimit")
    run(asked(limiter_of(Told())))
    assert [record for record in caplog.records if record.name == "ratelimit"] == []
    assert isinstance(limiter_of(Told())._telling, Telling)
