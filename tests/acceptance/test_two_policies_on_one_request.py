"""Two different policies on one request never count it twice in one counter, on whichever store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count

import pytest

from ratelimit import Charge, Decision, Identity, Lease, MemoryStore, Policy, RateLimitMiddleware, RedisStore, Store
from ratelimit.ground.memo import SIZE
from ratelimit.model import ASGIApp, Scope
from ratelimit.nesting import Level
from ratelimit.stores.routing.slotmap import slot_of
from tests import servers
from tests.acceptance import ask, header, plain, policy, run, scope_of
from tests.acceptance.test_path_of_a_request import Away

NUMBERS = count()
REQUESTS = '{ name = "requests", rate = "3/minute" }'
K = "{user=ana}:requests:60000/60"
KINDS = (
    '{ name = "requests", rate = "9/minute" }, { name = "monthly", quota = "9/month" },'
    ' { name = "in flight", concurrency = 2 }, { name = "soon", rate = "9/hour", mode = "shadow" }'
)


class Recording:
    """A store of a middleware that notes what it was asked and what it decided."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.charges: list[Sequence[Charge]] = []
        self.seen: list[Decision] = []

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        self.charges.append(charges)
        self.seen.append(await self._store.acquire(charges))
        return self.seen[-1]

    @property
    def used(self) -> dict[str, int]:
        """Of the last decision, by key."""
        return {state.charge.key: state.used for state in self.seen[-1].states}


def nested(
    *policies: Policy | str, store: Callable[[], Store | None] = lambda: None, app: ASGIApp = plain, **rest: object
) -> tuple[RateLimitMiddleware, list[Recording]]:
    """`app` within policies, the outermost first, each with the store that `store` gives it; and what is asked."""
    asked: list[Recording] = []
    for number, one in reversed(list(enumerate(policies))):
        of = policy(one, more=f"[operations]\nother{number} = []") if isinstance(one, str) else one
        app = RateLimitMiddleware(app, of, store=store(), **rest)
        app.store = Recording(app.store)
        asked.insert(0, app.store)
    return app, asked


@pytest.fixture(params=["memory", "valkey", "two connections"])
def store(request: pytest.FixtureRequest) -> Callable[[], Store]:
    """One memory store, one store on Valkey, and one for each middleware in the same Valkey."""
    if request.param == "memory":
        one = MemoryStore()
        return lambda: one
    url, prefix = request.getfixturevalue("valkey").unix_url, f"nested{next(NUMBERS)}"
    make = lambda: RedisStore(url, prefix=prefix, timeout=10)  # noqa: E731
    if request.param == "two connections":
        return make
    shared = make()
    return lambda: shared


def test_each_counts_once(store: Callable[[], Store]) -> None:
    """Of each kind of limit, and of three policies: under its own name with the number of the policy behind it."""
    leases: list[list[Lease]] = []

    async def app(scope, receive, send) -> None:
        leases.append([lease for one in asked for lease in one.seen[-1].leases])
        await plain(scope, receive, send)

    limiter, asked = nested(KINDS, KINDS, KINDS, store=store, app=app)

    async def test() -> None:
        for times in (1, 2, 3, 4):
            assert (await ask(limiter))[0]["status"] == 200
            plain_names = list(asked[0].used)
            assert len(set(plain_names)) == 4
            assert [one.used for one in asked] == [
                {name + mark: 1 if ":c" in name else times for name in plain_names} for mark in ("", "@2", "@3")
            ]
            assert len({lease.key for lease in leases[-1]}) == 3
            assert {slot_of(name + "@2") for name in plain_names} == {slot_of(plain_names[0])}
        await closed(limiter)

    run(test())


def test_the_tightest_denies(store: Callable[[], Store]) -> None:
    """Each policy admits its own max, and a denial of an inner one is told with the inner one's wait."""
    limiter, asked = nested('{ name = "requests", rate = "9/minute" }', REQUESTS, store=store)

    async def test() -> None:
        statuses = [(await ask(limiter))[0]["status"] for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        assert [asked[0].used, asked[1].used] == [{K: 5}, {f"{K}@2": 3}]
        await closed(limiter)

    run(test())


def test_units_taken_ahead(store: Callable[[], Store]) -> None:
    """With `reserve` each policy takes ahead from its own counter, and admits exactly its own max."""
    limits = '{ name = "requests", rate = "40/minute", reserve = true }'
    limiter, asked = nested(limits, limits, store=store)

    async def test() -> None:
        statuses = [(await ask(limiter))[0]["status"] for _ in range(45)]
        assert statuses == [200] * 40 + [429] * 5
        assert [list(one.used) for one in asked] == [[K], [f"{K}@2"]]
        await closed(limiter)

    run(test())


def test_the_same_counter_whatever_the_outer_one_charges(store: Callable[[], Store]) -> None:
    """Where the outer policy limits some operations alone, the inner one's max holds over all of them, not twice."""
    outer = '{ name = "requests", rate = "99/minute", operations = ["create"] }'
    limiter, asked = nested(outer, REQUESTS, store=store)

    async def test() -> None:
        seen = [(await ask(limiter, method=method))[0]["status"] for method in ("GET", "POST", "GET", "POST", "GET")]
        assert seen == [200, 200, 200, 429, 429]
        assert asked[1].used == {f"{K}@2": 3}
        await closed(limiter)

    run(test())


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ('{ name = "others", rate = "3/minute" }', REQUESTS),
        ('{ name = "requests", rate = "3/hour" }', REQUESTS),
        ('{ name = "requests", rate = "3/minute", precision = 10 }', REQUESTS),
        ('{ name = "requests", quota = "3/day" }', REQUESTS),
        ('{ name = "requests", rate = "3/minute", mode = "off" }', REQUESTS),
    ],
)
def test_other_names_stay_shared(outer: str, inner: str) -> None:
    """Without a limit of that name and period in the outer policy the inner one's is named as everywhere: services that
    share counters rely on it. Then the charges are the same object as without the outer one."""
    own = policy(inner)
    limiter, asked = nested(outer, own, store=in_one_memory())

    async def test() -> None:
        await ask(limiter)
        assert asked[1].used == {K: 1}
        alone, (once,) = nested(own)
        await ask(alone)
        assert once.charges[0] is asked[1].charges[0]

    run(test())


def test_other_counters_need_no_other_name(valkey: servers.Server) -> None:
    """In memories of their own, or under another prefix, counters are apart anyway. Whose store can't be told is taken
    for the same."""
    other = lambda prefix: RedisStore(valkey.unix_url, prefix=prefix, timeout=10)  # noqa: E731
    memory, prefix = MemoryStore(), f"nested{next(NUMBERS)}"
    rows: list[tuple[list[Store | str], list[str]]] = [
        ([MemoryStore(), MemoryStore()], [K, K]),
        (["memory://", "memory://"], [K, K]),
        ([memory, other(prefix), memory], [K, K, f"{K}@3"]),
        ([other(prefix), other(prefix + "-inner")], [K, K]),
        ([other(prefix), other(prefix)], [K, f"{K}@2"]),
        ([Of(memory), memory], [K, f"{K}@2"]),
        ([other(prefix), Of(memory), MemoryStore()], [K, f"{K}@2", f"{K}@3"]),
    ]

    async def test() -> None:
        for stores, expected in rows:
            inwards = iter(reversed(stores))
            limiter, asked = nested(
                *['{ name = "requests", rate = "99/minute" }'] * len(stores),
                store=lambda inwards=inwards: next(inwards),
            )
            await ask(limiter)
            assert [next(iter(one.used)) for one in asked] == expected
            await closed(limiter)

    run(test())


def in_one_memory() -> Callable[[], Store]:
    one = MemoryStore()
    return lambda: one


class Of:
    """Somebody's own store, in front of another one."""

    def __init__(self, store: Store) -> None:
        self.acquire = store.acquire
        self.close = store.close


def test_the_same_charges_for_the_same_caller() -> None:
    """What a store prepares and takes ahead belongs to the tuple of charges: the inner policy's is the same one again,
    for each caller, and no more are kept than for a policy by itself."""
    outer, inner = policy(REQUESTS), policy(REQUESTS, more="[operations]")
    level, within = Level(outer, store := MemoryStore()), (Level(inner, store),)
    ana, ben = (outer.charges(Identity(user=user, tier="basic"), "search") for user in ("ana", "ben"))
    marked = level.own(ana, within)
    assert [charge.key for charge in marked] == [f"{K}@2"]
    assert [(c.limit, c.cost, c.maxes) for c in marked] == [(c.limit, c.cost, c.maxes) for c in ana]
    assert level.own(ben, within) is not marked
    assert level.own(ana, within) is level.own(ana, (*within,)) is marked
    for _ in range(3 * SIZE):
        level.own((ana[0],), within)
    assert len(level._within.get(within)._recent) <= 2 * SIZE
    assert level.own((), within) == ()


@pytest.mark.parametrize("on_failure", ["allow", "local"])
def test_an_outer_policy_without_its_store(on_failure: str) -> None:
    """What the inner one counts is named the same, whether the outer one's store decided or not."""
    store = MemoryStore()
    of = policy(REQUESTS, more=f'[store]\non_failure = "{on_failure}"')
    inner = RateLimitMiddleware(plain, policy(REQUESTS), store=store)
    inner.store = asked = Recording(store)
    limiter = RateLimitMiddleware(inner, of, store=Away())

    async def test() -> None:
        await ask(limiter)
        assert asked.used == {f"{K}@2": 1}

    run(test())


def test_copies_of_the_scope() -> None:
    """A framework or a mount that hands on a copy hands on what applies already, and siblings know nothing of each
    other."""
    store = MemoryStore()
    left, left_asked = nested('{ name = "requests", rate = "3/minute" }', store=lambda: store)
    right, right_asked = nested('{ name = "requests", rate = "4/minute" }', store=lambda: store)

    async def fork(scope: Scope, receive, send) -> None:
        for app in (left, right):
            await app(dict(scope), receive, send)

    limiter, asked = nested('{ name = "requests", rate = "5/minute" }', store=lambda: store, app=fork)

    async def test() -> None:
        await ask(limiter)
        assert [one.used for one in (asked[0], left_asked[0], right_asked[0])] == [{K: 1}, {f"{K}@2": 1}, {f"{K}@2": 2}]

    run(test())


def test_slots_are_given_back(store: Callable[[], Store]) -> None:
    """Of both policies, each under its own key: a caller who comes one by one is never denied at a cap of one."""
    limiter, asked = nested(*['{ name = "in flight", concurrency = 1 }'] * 2, store=store)

    async def test() -> None:
        for _ in range(3):
            assert (await ask(limiter))[0]["status"] == 200
        running = asyncio.Event()

        async def waiting(scope, receive, send) -> None:
            running.set()
            await asyncio.sleep(60)

        inner: RateLimitMiddleware = limiter.app
        inner.app = waiting
        holds = asyncio.create_task(ask(limiter))
        await running.wait()
        start, _ = await ask(limiter)
        assert (start["status"], header(start, "retry-after")) == (429, "1")
        assert asked[0].used == {"{user=ana}:in%20flight:c": 1}
        holds.cancel()
        await asyncio.wait([holds])
        inner.app = plain
        assert (await ask(limiter))[0]["status"] == 200
        await closed(limiter)

    run(test())


def test_one_policy_alone_is_named_plainly() -> None:
    """A scope that came through nothing, and the same policy again: no mark."""
    one = policy(REQUESTS)
    limiter, asked = nested(one, one, policy(REQUESTS, more="[operations]"), one, store=in_one_memory())

    async def test() -> None:
        scope = scope_of()
        await ask(limiter, scope=scope)
        assert [len(a.seen) for a in asked] == [1, 0, 1, 0]
        assert [asked[0].used, asked[2].used] == [{K: 1}, {f"{K}@2": 1}]

    run(test())


async def closed(limiter: ASGIApp) -> None:
    while isinstance(limiter, RateLimitMiddleware):
        await limiter.store._store.close()
        limiter = limiter.app
