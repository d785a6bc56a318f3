"""The launches of a process: paused and resumed by the word of an operator, whatever becomes of the store meanwhile."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import Any
from weakref import WeakSet

import httpx2
import pytest
import trio

from ratelimit import RateLimitMiddleware, parse_policy
from ratelimit.launches import running as running_module
from ratelimit.launches.report import merged
from ratelimit.launches.running import IDLE, Running, running
from ratelimit.launches.shared import Shared, Word, shared_of
from ratelimit.log.denials import Denials
from ratelimit.model import Decision, Identity, StoreUnavailable
from ratelimit.policy import Policy
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.redis import RedisStore
from tests.launches.test_report import charge, would_deny
from tests.launches.test_shared import PREFIXES
from tests.servers import Server

T = 1_772_359_200_000
POLICY = """
[tiers.anonymous]
limits = [
  { name = "new", rate = "1/hour", launch = { warn = 0.8, shadow_until = 2020-01-01T00:00:00Z } },
  { name = "old", rate = "3/hour" },
]
"""


def policy_of(text: str = POLICY) -> Policy:
    return parse_policy(text, "launch")


async def answering(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for end in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{end}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Said(Shared):
    """What operators said, in a list; out of reach where that is None."""

    def __init__(self, *words: Word) -> None:
        self.all: list[Word] | None = list(words)
        self.reports: list[Any] = []

    async def words(self) -> list[Word]:
        if self.all is None:
            raise StoreUnavailable("gone\x1b[31m")
        return sorted(self.all)

    async def say(self, word: Word) -> None:
        self.all = [*await self.words(), word]

    async def write(self, process: str, report: Any) -> None:
        await self.words()
        self.reports.append((process, report))


def enforced(policy: Policy) -> bool:
    new, _ = policy.charges(Identity(ip="192.0.2.7", tier="anonymous"), "search")
    return new.stages[-1][1]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


PAUSED, RESUMED = Word(T, paused=True), Word(T + 1, paused=False)


def test_the_word_of_an_operator(caplog: pytest.LogCaptureFixture) -> None:
    """It counts for every policy of the store, also for one that comes later, and is told once."""
    said, policy = Said(), policy_of()
    here = Running(said)
    here.add(policy)

    async def test() -> None:
        await here.look()
        assert enforced(policy)
        said.all = [PAUSED]
        for _ in range(2):
            await here.look()
        assert not enforced(policy)
        here.add(later := policy_of())
        assert not enforced(later)
        said.all = [PAUSED, RESUMED]
        for _ in range(2):
            await here.look()
        assert enforced(policy)
        assert enforced(later)

    with caplog.at_level(logging.WARNING, "ratelimit"):
        run(test())
    said_of_it = "by ratelimit launch pause: in shadow until they are resumed: new"
    assert [record.getMessage() for record in caplog.records if " by ratelimit" in record.getMessage()] == [
        f"launches are paused since 2026-03-01T10:00:00Z, {said_of_it}",
        "launches go on since 2026-03-01T10:00:00Z, by ratelimit launch resume: new",
    ]


def test_a_first_word_that_is_no_pause(caplog: pytest.LogCaptureFixture) -> None:
    """A process that starts when launches have gone on for long has nothing to say."""
    here = Running(Said(PAUSED, RESUMED))
    here.add(policy_of())
    caplog.clear()
    run(here.look())
    assert not caplog.records
    assert here.word == RESUMED


def test_what_the_store_has_lost() -> None:
    """After a flush, or where an older word is there, a process writes what it knows; a newer word is taken."""
    said = Said(RESUMED)
    here = Running(said)

    async def test() -> None:
        await here.look()
        for lost in ([], [PAUSED]):
            said.all = list(lost)
            await here.look()
            assert said.all == [*lost, RESUMED]
        said.all = [Word(T + 9, paused=True)]
        await here.look()
        assert here.word == Word(T + 9, paused=True)

    run(test())


def test_a_store_out_of_reach(caplog: pytest.LogCaptureFixture) -> None:
    """What was known last holds, the report waits, and each of them is told once, whatever the server said."""
    said, policy = Said(PAUSED), policy_of()
    here = Running(said)
    here.add(policy)

    async def test() -> None:
        await here.look()
        said.all = None
        here.report.note(would_deny(charge()), Identity("acme"))
        caplog.clear()
        for _ in range(3):
            await here.look()
            await here.write()
        assert not enforced(policy)
        assert [record.getMessage() for record in caplog.records] == [
            f"{what} (logged once): gone\\x1b[31m"
            for what in (
                "whether launches are paused can't be read: what was known last holds",
                "the report of the launches can't be written, it is kept here meanwhile",
            )
        ]
        said.all = []
        for _ in range(2):
            await here.write()
        assert len(said.reports) == 1

    run(test())


def test_a_store_of_one_process(caplog: pytest.LogCaptureFixture) -> None:
    """It is asked for nothing; its report is in the process, and in its log when it ends."""
    policy, store, denials = policy_of(), MemoryStore(), Denials()
    here = running(policy, store, denials)
    assert here
    assert running(policy, store, denials) is here
    watched = len
    assert here.watching(watched) is watched  # type: ignore[arg-type]
    assert denials.also
    for _ in range(2):
        denials.also(would_deny(charge()), Identity("acme"))

    async def test() -> None:
        await here.look()
        await here.write()
        for _ in range(2):
            await here.close()

    with caplog.at_level(logging.INFO, "ratelimit"):
        run(test())
    assert merged([here.report.written()], 5)[0].denials == 2
    said = [record.getMessage() for record in caplog.records if "would have denied" in record.getMessage()]
    assert said == [
        "limit=requests would have denied 2 requests while it was in shadow, the most: organization=acme 2 (needs a max"
        " of 5)"
    ]
    assert running(policy_of("tiers.anonymous.limits = []"), store, denials) is None


def test_a_store_that_is_nobodys_key() -> None:
    """Of one that can't be remembered each middleware has its own."""

    class Odd:
        __hash__ = None  # type: ignore[assignment]

    odd: Any = Odd()
    assert running(policy_of(), odd, Denials()) is not running(policy_of(), odd, Denials())


def test_nothing_is_kept_alive(valkey: Server) -> None:
    """Neither the store nor a policy outlives its middleware for a launch."""

    async def test() -> list[weakref.ref[Any]]:
        store = RedisStore(valkey.unix_url, prefix=next(PREFIXES), timeout=5)
        app = RateLimitMiddleware(answering, policy_of(), store=store)
        await asked(app)
        await app._close()
        return [weakref.ref(store), weakref.ref(app.policy), weakref.ref(app)]

    there = asyncio.run(test())
    gc.collect()
    gc.collect()
    assert [one() for one in there] == [None, None, None]


async def asked(app: Any, times: int = 1) -> list[int]:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://a") as client:
        return [(await client.get("/")).status_code for _ in range(times)]


async def until(condition: Any) -> None:
    while not await condition():  # noqa: ASYNC110 - others set it
        await asyncio.sleep(0.005)


def test_in_the_background(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """While there are requests, two processes hear of a pause and of its end, write it again after a flush, and write
    their reports, which are of both; and their last words at the end."""
    monkeypatch.setattr(running_module, "EVERY", 0.01)
    prefix = next(PREFIXES)

    def process() -> RateLimitMiddleware:
        return RateLimitMiddleware(answering, policy_of(), store=RedisStore(valkey.unix_url, prefix=prefix, timeout=5))

    async def test() -> None:
        operator = RedisStore(valkey.unix_url, prefix=prefix, timeout=5)
        shared = shared_of(operator)
        assert shared
        one, other = process(), process()
        assert [await asked(one, 2), await asked(other)] == [[200, 429], [429]]
        await shared.say(PAUSED)

        async def both(so: bool) -> bool:
            return enforced(one.policy) is enforced(other.policy) is so

        async def there() -> bool:
            return await shared.words() == [PAUSED] and (await shared.gathered(5)).processes == 2

        await until(partial(both, False))
        assert [await asked(one), await asked(other)] == [[200], [200]]
        await operator.ask("{launch}", "DEL", f"{prefix}:{{launch}}:paused")
        await until(there)
        await shared.say(RESUMED)
        await until(partial(both, True))
        assert [await asked(one), await asked(other)] == [[429], [429]]
        for app in (one, other):
            await app._close()
        gathered = await shared.gathered(5)
        assert [(limit.name, limit.denials) for limit in gathered.limits] == [("new", 2)]
        await operator.close()

    run(asyncio.wait_for(test(), 60))


def test_the_start_of_an_app(valkey: Server) -> None:
    """Its lifespan begins when it is known whether launches are paused: the first request is decided so."""
    prefix = next(PREFIXES)

    async def test() -> None:
        store = RedisStore(valkey.unix_url, prefix=prefix, timeout=5)
        shared = shared_of(store)
        assert shared
        await shared.say(PAUSED)
        app, sent = RateLimitMiddleware(answering, policy_of(), store=store), list[str]()

        async def receive() -> Any:
            if not sent:
                assert not enforced(app.policy)
                return {"type": "lifespan.startup"}
            assert await asked(app, 3) == [200, 200, 200]
            return {"type": "lifespan.shutdown"}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await app({"type": "lifespan"}, receive, send)
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    run(test())


def test_it_ends_when_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute after the last request nothing is looked at any more, until the next one; a loop that has closed and one
    that others have taken over are left. A look that lasts is not joined by another."""
    now = [1_000.0]
    monkeypatch.setattr(running_module, "monotonic", lambda: now[0])
    said, went_on = Said(), asyncio.Event()
    here = Running(said)
    watched: Any = here.watching(lambda scope: scope["x"])

    async def waiting() -> list[Word]:
        await went_on.wait()
        return []

    async def first() -> None:
        said.words = waiting  # type: ignore[method-assign]
        assert watched({"x": 5}) == 5
        loop, chain = asyncio.get_running_loop(), here._chain
        assert here._loop is loop
        await asyncio.sleep(0)
        task = here._task
        here._tick(loop, chain)
        assert task
        assert here._task is task
        went_on.set()
        await task
        here._tick(loop, object())
        assert here._task is task
        here._tick(loop, chain)
        assert here._task is not task
        now[0] += IDLE + 1
        here._tick(loop, chain)
        assert here._loop is None
        here._tick(loop, chain)
        assert here._chain is None

    async def second() -> None:
        watched({"x": 5})
        assert here._loop is asyncio.get_running_loop()

    for test in (first, second, second):
        run(test())


def test_an_edited_policy(valkey: Server) -> None:
    """What takes the place of a policy while launches are paused is paused, too; one without a launch is left."""
    app = RateLimitMiddleware(answering, policy_of(), store=RedisStore(valkey.unix_url, prefix=next(PREFIXES)))
    assert app._launches
    app._launches._adopt(PAUSED)
    edited = app._under(policy_of(POLICY.replace("1/hour", "2/hour")))
    assert edited._launches is app._launches
    assert not enforced(edited.policy)
    app._launches._adopt(RESUMED)
    assert enforced(edited.policy)
    without = app._under(policy_of("tiers.anonymous.limits = []"))
    assert without._launches is None


class Meanwhile(WeakSet[Policy]):
    """Another thread adds one while it is looked through, if nothing keeps it from that."""

    def __init__(self, here: Running, comes: Policy) -> None:
        super().__init__()
        self.thread = threading.Thread(target=here.add, args=(comes,))

    def __iter__(self) -> Iterator[Policy]:
        for policy in super().__iter__():
            self.thread.start()
            self.thread.join(0.05)
            yield policy


def test_an_edit_and_a_pause_at_once() -> None:
    """A policy may come on the thread that reads an edited file while others are being paused: all of them are."""
    here, known, comes = Running(None), policy_of(), policy_of(POLICY)
    policies = here._policies = Meanwhile(here, comes)
    here.add(known)
    here._adopt(PAUSED)
    policies.thread.join()
    assert [enforced(policy) for policy in (known, comes)] == [False, False]


def test_on_trio() -> None:
    """Nothing is shared there, and nobody is told of an error."""
    here = Running(Said())

    async def test() -> None:
        assert here.watching(lambda _: 7)({}) == 7

    trio.run(test)
    assert here._loop is None


def test_a_look_that_is_cancelled() -> None:
    """A shutdown in the middle of it ends it, and the report is still written."""
    said = Said()
    here = Running(said)

    async def forever() -> list[Word]:
        await asyncio.Event().wait()
        return []

    async def test() -> None:
        here.watching(lambda _: None)({})
        said.words = forever  # type: ignore[method-assign]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task = here._task
        assert task
        del said.words
        here.report.note(would_deny(charge()), Identity("acme"))
        await here.close()
        await asyncio.wait([task])
        assert task.cancelled()
        assert len(said.reports) == 1
        assert here._loop is None
        await Running(said).close()
        assert len(said.reports) == 1

    run(test())


def test_what_is_denied_is_not_in_the_report() -> None:
    """Whom an enforced limit denies was not let through by a shadow."""
    denials, seen = Denials(), list[Decision]()
    denials.also = lambda decision, _: seen.append(decision)
    state = would_deny(charge()).states[0]
    denied = Decision(False, T, (state, state._replace(shadow=False)))
    denials.report(denied, None, "search", Identity("acme"), "id")
    assert not seen
    denials.report(would_deny(charge()), None, "search", Identity("acme"), "id")
    assert len(seen) == 1
