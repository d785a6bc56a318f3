"""Processes on one store share the first verdict on an edit, and an operator's word comes before it."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from ratelimit import RateLimitMiddleware
from ratelimit.launches.shared import Word, shared_of
from ratelimit.model import StoreUnavailable
from ratelimit.reload import verdicts
from ratelimit.reload.file import digest_of
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.redis import RedisStore
from tests import servers
from tests.acceptance import T, run
from tests.reload import called, edited, limit_of, limited, looked, messages, rate, text, watch_of, written


@pytest.fixture
def store(valkey: servers.Server) -> Callable[[], RedisStore]:
    """Stores of several processes, as it were."""
    prefix = secrets.token_hex(4)
    return lambda: RedisStore(valkey.url, prefix=prefix, timeout=2)


def digest() -> str:
    return secrets.token_hex(32)


@pytest.mark.parametrize(
    ("first", "second"), [("taken", "refused"), ("refused", "taken"), ("taken", "taken"), ("refused", "refused")]
)
def test_the_first_counts(store: Callable[[], RedisStore], first: Any, second: Any) -> None:
    """In one atomic step, for every process that comes later; who has none of its own hears it too."""
    one, two, name = store(), store(), digest()

    async def test() -> None:
        assert await verdicts.first(one, name, None) is None
        assert await verdicts.known(one, name) is None
        assert await verdicts.first(one, name, first) == first
        assert await verdicts.first(two, name, second) == first
        assert await verdicts.first(two, name, None) == first
        assert await verdicts.known(two, name) == first
        assert await verdicts.known(two, digest()) is None
        await verdicts.accept(two, name)
        assert await verdicts.known(one, name) == "taken"
        assert await verdicts.first(one, name, "refused") == "taken"
        await one.close()
        await two.close()

    run(test())


def test_at_the_same_time(store: Callable[[], RedisStore]) -> None:
    """Of many that say it at once, all go by one."""
    stores, name = [store() for _ in range(6)], digest()

    async def test() -> None:
        said: list[Any] = ["taken", "refused"] * 3
        found = await asyncio.gather(*[verdicts.first(one, name, own) for one, own in zip(stores, said, strict=True)])
        assert len(set(found)) == 1
        for one in stores:
            await one.close()

    run(test())


def test_who_shares() -> None:
    """Not the memory of one process, nor a store that can't be asked for what was said."""

    class Other:
        async def acquire(self, charges: object) -> None: ...

    assert verdicts.shared_by(MemoryStore()) is None
    assert verdicts.shared_by(Other()) is None  # type: ignore[arg-type]


def test_a_loop_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it for long, and nothing is left that was never begun."""
    loop = asyncio.new_event_loop()

    async def asked() -> str:
        return "here"

    monkeypatch.setattr(verdicts, "PATIENCE", 0.0)
    with pytest.raises(StoreUnavailable, match="does not answer within 0 s"):
        verdicts.answer(asked(), loop)
    loop.close()
    with pytest.raises(StoreUnavailable, match="has ended"):
        verdicts.answer(asked(), loop)


def test_a_loop_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun and is not waited for any more is cancelled; a loop that ends meanwhile is as one out of reach."""
    begun, ended = threading.Event(), []

    async def asked() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(True)
            raise

    async def test() -> None:
        loop = asyncio.get_running_loop()

        def wait(patience: float) -> str:
            monkeypatch.setattr(verdicts, "PATIENCE", patience)
            with pytest.raises(StoreUnavailable) as error:
                verdicts.answer(asked(), loop)
            return str(error.value)

        assert "does not answer" in await asyncio.to_thread(wait, 0.05)
        begun.clear()
        waiting = asyncio.create_task(asyncio.to_thread(wait, 60.0))
        await asyncio.to_thread(begun.wait)
        (task,) = [task for task in asyncio.all_tasks() if "asked" in repr(task.get_coro())]
        task.cancel()
        assert await waiting == "the event loop ends"

    run(test())
    assert ended == [True, True]


async def busy(limiter: Any, callers: int = 8) -> None:
    for number in range(callers):
        await called(limiter, number, times=20)
        await looked(limiter, 1)


def test_processes_agree(path: Path, store: Callable[[], RedisStore], caplog: pytest.LogCaptureFixture) -> None:
    """What the first says holds for one that would say something else, and for one that knows nobody."""
    other = written(path.with_name("other.toml"), rate(1000))
    third = written(path.with_name("third.toml"), rate(1000))
    one, two, idle = (
        limited(written(path, rate(1000)), store=store()),
        limited(other, store=store()),
        limited(third, store=store()),
    )

    async def test() -> None:
        await busy(one)
        await called(two, times=1)
        await looked(two)
        idle._follower.begin()  # type: ignore[union-attr]
        await looked(idle)
        for file in (path, other, third):
            written(file, rate(10))
        await looked(idle, 2)
        assert not edited(idle)
        await looked(one, 2)
        await looked(two, 2)
        await looked(idle, 1)
        assert [edited(limiter) for limiter in (one, two, idle)] == 3 * [False]
        assert "another process on this store has refused it" in messages(caplog.records)[-1]
        for limiter in (one, two, idle):
            await limiter._close()

    run(test())
    assert len(messages(caplog.records, "CRITICAL")) == 3


def test_nobody_knows_anybody(path: Path, store: Callable[[], RedisStore]) -> None:
    """Where no process has callers the edit is taken, one look later."""
    limiter = limited(written(path, rate(1000)), store=store())

    async def test() -> None:
        limiter._follower.begin()  # type: ignore[union-attr]
        await looked(limiter)
        written(path, rate(10))
        await looked(limiter, 2)
        assert not edited(limiter)
        await looked(limiter, 1)
        assert limit_of(await called(limiter)) == "10"
        await limiter._close()

    run(test())


def due(limiter: RateLimitMiddleware) -> None:
    """As if a second had passed since the store was asked."""
    edit = watch_of(limiter)._edit
    assert edit
    edit.ask_at = 0


@pytest.mark.parametrize("number", [10, 1001])
def test_others_speak_late(path: Path, store: Callable[[], RedisStore], number: int) -> None:
    """Who takes an edit as it knows nobody takes it back where others refuse it later, which an operator may overrule;
    where they take it, it stays."""
    other = written(path.with_name("other.toml"), rate(1000))
    busier, idle = limited(written(path, rate(1000)), store=store()), limited(other, store=store())
    refused = number == 10

    async def test() -> None:
        await busy(busier)
        idle._follower.begin()  # type: ignore[union-attr]
        await looked(idle)
        for file in (path, other):
            written(file, rate(number))
        await looked(idle, 3)
        assert edited(idle)
        due(idle)
        await looked(idle, 1)  # nobody has said anything
        assert edited(idle)
        await looked(busier, 2)
        due(idle)
        await looked(idle, 1)
        assert [edited(limiter) for limiter in (busier, idle)] == 2 * [not refused]
        if refused:
            await verdicts.accept(store(), digest_of(rate(number).encode()))
            for limiter in (busier, idle):
                due(limiter)
                await looked(limiter, 1)
        assert [limit_of(await called(limiter)) for limiter in (busier, idle)] == 2 * [str(number)]
        assert [watch_of(limiter)._edit for limiter in (busier, idle)] == [None, None]
        for limiter in (busier, idle):
            await limiter._close()

    run(test())


def test_others_never_speak(path: Path, store: Callable[[], RedisStore], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has taken an edit as it knows nobody asks for a while what others say, and no longer."""
    idle = limited(written(path, rate(1000)), store=store())

    async def test() -> None:
        idle._follower.begin()  # type: ignore[union-attr]
        await looked(idle)
        monkeypatch.setattr(verdicts, "LATE", 0.0)
        written(path, rate(10))
        await looked(idle, 3)
        due(idle)
        await looked(idle, 1)
        assert (edited(idle), watch_of(idle)._edit) == (True, None)
        await idle._close()

    run(test())


def test_accepted(path: Path, store: Callable[[], RedisStore], caplog: pytest.LogCaptureFixture) -> None:
    """What an operator accepts is in force a second later, and who starts with what was refused is told."""
    limiter = limited(written(path, rate(1000)), store=store())

    async def test() -> None:
        await busy(limiter)
        written(path, rate(10))
        await looked(limiter, 4)
        assert not edited(limiter)
        late = limited(written(path.with_name("late.toml"), rate(10)), store=store())
        late._follower.begin()  # type: ignore[union-attr]
        await looked(late)
        assert "was refused by others" in messages(caplog.records)[-1]
        await verdicts.accept(store(), digest_of(rate(10).encode()))
        due(limiter)
        await looked(limiter, 1)
        assert limit_of(await called(limiter)) == "10"
        assert ", as it was accepted; it newly denies 8 of the 8" in messages(caplog.records, "WARNING")[-1]
        for one in (limiter, late):
            await one._close()

    run(test())


def test_out_of_reach(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without the store each process goes by what it knows itself, and says so once."""

    class Down(MemoryStore):
        down = False

        async def peek(self, *arguments: Any) -> Any:
            if self.down:
                raise StoreUnavailable("nobody there")
            return await super().peek(*arguments)

    memory = Down()
    limiter = limited(written(path, rate(1000)), store=memory)

    async def test() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(verdicts, "shared_by", lambda store: store)
            await busy(limiter)
            memory.down = True
            written(path, rate(10))
            await looked(limiter, 6)
            assert not edited(limiter)
            written(path, rate(990))
            await looked(limiter)
            assert limit_of(await called(limiter)) == "990"

    run(test())
    lines = [line for line in messages(caplog.records) if line.startswith("the verdict of other processes")]
    assert lines == 2 * ["the verdict of other processes on an edited policy is not known: nobody there"]


def unanswered(asked: Coroutine[Any, Any, Any], loop: object) -> None:
    """Of a loop that does not come to it."""
    asked.close()
    raise StoreUnavailable("gone")


@pytest.mark.parametrize("away", [False, True])
def test_a_launch_that_comes_while_launches_are_paused(
    store: Callable[[], RedisStore], path: Path, away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in force when that is known, so that not even its first requests are denied; where the store can't be
    asked, it is in force as any edit."""
    cohort = '{ organization = "o0", from = 2020-01-01T00:00:00Z }'
    launch = f'{{ name = "new", rate = "1/hour", launch = {{ cohorts = [{cohort}] }} }}'

    async def test() -> None:
        opened = store()
        shared = shared_of(opened)
        assert shared
        await shared.say(Word(T, paused=True))
        limiter = limited(written(path, rate(100)), store=opened)
        await called(limiter)
        await looked(limiter)
        if away:
            monkeypatch.setattr(verdicts, "answer", unanswered)
        written(path, text(launch))
        await looked(limiter, 4)
        assert edited(limiter)
        first = await asyncio.gather(*[called(limiter) for _ in range(3)])
        assert sorted(start["status"] for start in first) == [200, *([429, 429] if away else [200, 200])]
        await limiter._close()

    run(test())
