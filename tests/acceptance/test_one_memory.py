"""Middlewares that share a Policy object share one memory store, as they would share a Redis."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from ratelimit import MemoryStore, Policy, RateLimitMiddleware, load_policy, opening
from ratelimit.stores.redis import RedisStore
from tests.acceptance import ask, header, plain, policy, run
from tests.acceptance.test_mounted import AS_ANA, endpoint

IN_FLIGHT = '{ name = "in flight", concurrency = 1 }'


async def left(limiter: RateLimitMiddleware) -> str | None:
    return header((await ask(limiter))[0], "x-ratelimit-remaining")


@pytest.mark.parametrize("named_by", ["the policy", "the environment", "the argument", "its default"])
def test_sibling_mounts(named_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two mounts of one Policy object count together, whoever says that it is memory; and the app around them."""
    monkeypatch.setenv("RATELIMIT_STORE_URL", "memory://" if named_by == "the environment" else "")
    shared = policy(more={"the policy": '[store]\nurl = "memory://"'}.get(named_by, ""))
    store = {"store": "MEMORY://"} if named_by == "the argument" else {}
    limited = [Middleware(RateLimitMiddleware, shared, **store)]
    subs = [Mount(f"/{n}", Starlette(routes=[Route("/a", endpoint)], middleware=limited)) for n in ("one", "two")]
    client = TestClient(Starlette(routes=subs), headers=AS_ANA)
    seen = [client.get(path) for path in ("/one/a", "/two/a", "/one/a", "/two/a")]
    assert [r.status_code for r in seen] == [200, 200, 200, 429]
    assert [r.headers["x-ratelimit-remaining"] for r in seen] == ["2", "1", "0", "0"]


def test_a_middleware_for_each_route() -> None:
    """As Litestar makes them, each with a copy of the scope: a hundred routes are one limit, and one slot."""
    shared = policy(f'{{ name = "requests", rate = "99/minute" }}, {IN_FLIGHT}')
    running = asyncio.Event()

    async def waiting(scope, receive, send) -> None:
        running.set()
        await asyncio.sleep(60)

    async def test() -> None:
        routes = [RateLimitMiddleware(plain, shared) for _ in range(100)]
        assert [await left(route) for route in routes] == [*[str(n) for n in range(98, -1, -1)], "0"]
        slots = policy(IN_FLIGHT)
        holds = asyncio.create_task(ask(RateLimitMiddleware(waiting, slots)))
        await running.wait()
        other = RateLimitMiddleware(plain, slots)
        assert (await ask(other))[0]["status"] == 429
        holds.cancel()
        await asyncio.wait([holds])
        assert (await ask(other))[0]["status"] == 200

    run(test())


def test_the_shutdown_of_one() -> None:
    """A sub-app that shuts down gives back its own slots, and takes nothing from those who count with it."""
    shared = policy(f'{{ name = "requests", rate = "3/minute" }}, {IN_FLIGHT}')
    running = asyncio.Event()

    async def app(scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.shutdown.complete"})
        else:
            running.set()
            await asyncio.sleep(60)

    async def test() -> None:
        one, two = RateLimitMiddleware(app, shared), RateLimitMiddleware(app, shared)
        holds = asyncio.create_task(ask(one))
        await running.wait()
        await ask(two, scope={"type": "lifespan"})
        assert (await ask(two))[0]["status"] == 429  # the other's slot is still taken
        await ask(one, scope={"type": "lifespan"})
        assert header((await ask(RateLimitMiddleware(plain, shared)))[0], "x-ratelimit-remaining") == "1"
        holds.cancel()
        await asyncio.wait([holds])

    run(test())


def test_from_several_threads() -> None:
    """Apps of one Policy object in several threads, each with a loop of its own, are one limit."""
    shared = policy('{ name = "requests", rate = "20/minute" }')
    statuses: list[int] = []

    async def test() -> None:
        limiter = RateLimitMiddleware(plain, shared)
        statuses.extend([(await ask(limiter))[0]["status"] for _ in range(10)])

    threads = [threading.Thread(target=run, args=(test(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 20 + [429] * 20


def test_a_store_of_its_own() -> None:
    """A MemoryStore that is passed is the middleware's own, or of all that it is passed to."""
    shared, own = policy(), MemoryStore()
    stores = own, MemoryStore(), own, "memory://", None
    limiters = [RateLimitMiddleware(plain, shared, store=store) for store in stores]

    async def test() -> None:
        assert [await left(limiter) for limiter in limiters] == ["2", "2", "1", "2", "1"]

    run(test())


def test_it_goes_with_the_policy() -> None:
    """Counters are kept for no longer than their policy and the middlewares of it."""
    limiter = RateLimitMiddleware(plain, policy())
    run(ask(limiter))
    kept = weakref.ref(limiter.store), weakref.ref(limiter._denials)
    del limiter
    gc.collect()
    assert [one() for one in kept] == [None, None]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ratelimit.toml"
    path.write_text('[tiers.anonymous]\nlimits = [ { name = "ip", rate = "3/minute" } ]\n')
    return path


def test_a_file_that_is_loaded_twice(file, caplog: pytest.LogCaptureFixture) -> None:
    """Two loads of one file count by themselves in memory: that is said once, with what to do."""
    first, *others = [RateLimitMiddleware(plain, file) for _ in range(3)]
    assert first.store is not others[0].store
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "WARNING",
        f"{file} is loaded more than once in this process, and each load counts by itself in memory: a caller of both"
        " has every limit twice; load it once, with load_policy, and pass that object to each RateLimitMiddleware",
    )


def test_what_is_not_loaded_twice(file, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is said of one object in many middlewares, of stores that are passed, of Redis, of an edited file, of
    policies by hand, and of an app that is built anew as tests do it, also where the old one is garbage."""
    one = load_policy(file)
    by_hand = [Policy(one.tiers, one.identify, one.classify, one.style, one.address) for _ in range(2)]
    for each in (one, one, *by_hand):
        RateLimitMiddleware(plain, each)
    alive = [RateLimitMiddleware(plain, file, store=store) for store in (MemoryStore(), "redis://127.0.0.1:1/0")]
    assert isinstance(alive[1].store, RedisStore)
    file.write_text(file.read_text() + "# edited")
    alive.append(RateLimitMiddleware(plain, file))
    file.write_text(file.read_text() + " twice")

    def built() -> None:
        app = Starlette(middleware=[Middleware(RateLimitMiddleware, file)])
        app.state.app = app  # refers to itself
        TestClient(app).get("/")

    for _ in range(3):
        built()
    assert not [record for record in caplog.records if "loaded" in record.getMessage()]
    assert len([policy for policy in list(opening._memories) if policy.origin.startswith(str(file))]) <= 3
