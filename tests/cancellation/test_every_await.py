"""A request that is cancelled, wherever it stands, costs nothing without an answer but what is documented, leaves no
slot, no task and no socket behind, and disturbs nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from typing import get_args

import pytest

from ratelimit import RateLimitMiddleware
from ratelimit.model import Charge, Decision, Message, Store, StoreUnavailable
from ratelimit.slots.leases import Leases
from ratelimit.stores.batching.batch import Batch
from ratelimit.stores.connection.socket import Reply
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.redis import RedisStore
from ratelimit.stores.routing.lease_writes import LeaseWrites
from ratelimit.stores.routing.router import Router
from tests import clusters, servers
from tests.acceptance import ANA, BEN, scope_of
from tests.cancellation import ROOT, Cancellation, Place, When, waits
from tests.cancellation.scenarios import ALL, ON_SERVERS, Scenario, connection, more_of, policy_of, quietly, receive
from tests.cancellation.troubles import Site, full, pauses
from tests.stores.clustered import slot

_prefixes = (f"cancel{number}" for number in count())
PATIENCE = 10.0  # seconds until a slot that is still held is kept for good
ACQUIRE = "await self.store.acquire(charges)"

VERBS = ("peek", "charge", "refund", "hold", "settle", "reset")

# What a cancelled request can't be suspended in, by the function or by the text, and why.
ELSEWHERE = {
    ("launches/running.py", "Running.first.started"): "at start",
    ("launches/running.py", "Running._round"): "a task of its own, which no request waits for",
    ("launches/running.py", "Running.look"): "of that task, and at start",
    ("launches/running.py", "Running.write"): "of that task, and at shutdown",
    ("launches/running.py", "Running.close"): "at shutdown",
    ("launches/shared.py", "shared_of.ask"): "of that task, and of the command line",
    **{("launches/shared.py", f"Shared.{name}"): "of that" for name in ("now_ms", "words", "say", "write", "_command")},
    ("launches/shared.py", "Shared.gathered"): "of the command line",
    ("stores/redis.py", "RedisStore.ask"): "of launches",
    ("reload/effect.py", "_decided.ask"): "on the thread that reads an edit, by a store that never waits",
    **{("reload/verdicts.py", name): "of that thread: no request waits for it" for name in ("first", "known")},
    ("reload/verdicts.py", "accept"): "of the command line",
    ("usage/reading.py", "await _ask(read)"): "of a store that never waits",
    ("usage/reading.py", "_ask"): "a task of its own: a request waits for its end",
    ("lifespan.py", "Lifespan._call"): "at start and shutdown",
    ("lifespan.py", "Lifespan._call.told"): "at start and shutdown",
    ("middleware.py", "RateLimitMiddleware._close"): "at shutdown",
    ("middleware.py", "RateLimitMiddleware._refuse"): "before a store is asked: nothing is charged, and nothing held",
    ("middleware.py", "await self._refuse(why, scope, send)"): "of that",
    ("middleware.py", "await late.run(scope, receive, reported, leases)"): "tests/control/test_cancelled.py",
    ("operations/own.py", "ClassifyByOwn._settled"): "where endpoints are marked: nothing is charged yet",
    ("routes/marks.py", "MarkedApp.__call__"): "of the app: what is around it sees to all",
    ("fastapi/limits.py", "DeclaredLimit.__call__"): "of the app: tests/acceptance/test_limits_in_code.py",
    ("fastapi/unseen.py", "Unseen.check"): "of that",
    ("fastapi/unseen.py", "Unseen._charge"): "of that",
    ("fastapi/usage.py", "_Answered.__call__"): "of the app: it answers by usage/endpoint.py alone",
    ("answers/inside.py", "Response.send"): "tests/control/test_cancelled.py",
    ("answers/inside.py", "Response.end"): "of that",
    ("opening.py", "refused"): "at start",
    ("switch.py", "refusing_nobody.lenient"): "before a store is asked, as identify itself",
    ("waiting/turns.py", "Turns.waited"): "of who waits: tests/waiting/test_cancelled.py",
    ("waiting/turns.py", "Turns._turn"): "of who waits",
    ("waiting/turns.py", "Turns._too_long"): "of who waits",
    ("waiting/turns.py", "_InLine.acquire"): "of who waits",
    ("waiting/turns.py", "Turns.closing.received"): "at start and shutdown",
    ("waiting/line.py", "Waiter.woken"): "of who waits",
    ("waiting/watch.py", "Watch._listen"): "a task of its own",
    ("waiting/watch.py", "Watch._handed_on"): "of the app by itself",
    ("middleware.py", "await self._turns.waited(decision, charges, identity, scope, receive)"): "of who waits",
    ("slots/ending.py", "_give_back"): "at the end of the process",
    ("slots/holding.py", "GivenHere.release"): "without a store, where nothing is waited for",
    ("slots/holding.py", "Held._listen"): "a task of its own",
    ("slots/holding.py", "Held.take"): "of a caller who is known later: tests/control/test_cancelled.py",
    (
        "slots/holding.py",
        "await ended(self._listening)",
    ): "of requests that run for half a lease: tests/fuzz/test_slots.py",
    ("slots/holding.py", "await stopped(listening)"): "of these requests",
    ("slots/leases.py", "Leases.close"): "at shutdown",
    ("slots/leases.py", "Leases.give_all_back"): "at the end of the process",
    ("ground/loops.py", "await task.wait()"): "on trio",
    ("ground/loops.py", "stopped"): "of these requests, and at shutdown",
    ("ground/loops.py", "pause"): "for seconds, in whose place a turn is put: tests/websockets/test_messages.py",
    ("slots/renewals.py", "Renewals.close"): "at shutdown",
    ("slots/renewals.py", "Renewals._renew"): "a task of its own, which no request waits for",
    ("ground/trio_loop.py", "TrioTask.wait"): "on trio: tests/acceptance/test_trio.py",
    ("ground/trio_loop.py", "TrioTask.wait_shielded"): "on trio",
    ("ground/trio_loop.py", "TrioTask._run"): "on trio",
    ("ground/trio_loop.py", "_later"): "on trio",
    ("stores/redis.py", "RedisStore.renew"): "of that task",
    ("stores/lua/scripts.py", "called"): "of that task, and of the one that settles",
    ("stores/redis.py", "RedisStore.close"): "at shutdown",
    ("stores/batching/queue.py", "DecisionQueue.close"): "at shutdown",
    ("stores/routing/nodes.py", "SingleNode.close"): "at shutdown",
    ("stores/routing/nodes.py", "ClusterNodes.close"): "at shutdown",
    ("stores/routing/nodes.py", "ClusterNodes._learn"): "a task of its own: a request waits for its end by a future",
    ("stores/routing/nodes.py", "ClusterNodes._learn_from"): "of that task",
    ("stores/routing/nodes.py", "ClusterNodes._ask"): "of that task",
    ("stores/connection/link.py", "Link.call"): "of renewals, and of the look at who has which slots",
    ("stores/connection/link.py", "Link.close"): "at shutdown",
    (
        "stores/connection/link.py",
        "Link._run",
    ): "the task of a connection: a request waits for what it brings by a future",
    ("stores/connection/link.py", "Link._live"): "of that task",
    ("stores/connection/dial.py", "connect"): "of that task",
    ("stores/connection/dial.py", "_greeted"): "of that task",
    ("stores/connection/breaker.py", "Proving.proved"): "of that task",
    ("stores/connection/dial.py", "_Generic._run"): "a task of its own, where redis-py has no transport (fakeredis)",
    ("stores/connection/dial.py", "_read"): "of the task of fakeredis",
    ("stores/connection/handshake.py", "looked_up"): "of the task of a connection",
    ("stores/routing/sentinel.py", "Sentinels.discover_master"): "of the task of a connection",
    ("stores/routing/sentinel.py", "Sentinels._named"): "of the task of a connection",
    ("stores/routing/sentinel.py", "Sentinels._ask"): "a task of its own, one a sentinel",
    ("stores/routing/sentinel.py", "ask"): "of these tasks",
    ("stores/routing/lease_writes.py", "LeaseWrites.renew"): "of the task that renews",
    ("stores/routing/router.py", "Router.in_slices"): "of the task that renews",
    ("stores/routing/router.py", "Router.in_slices.of_one"): "of that task",
    ("stores/routing/router.py", "Router.call"): "of that task, and of what an app settles by itself",
    ("stores/routing/lease_writes.py", "LeaseWrites.renew.renewed"): "of the task that renews",
    (
        "websockets/handshake.py",
        "await self._send({'type': START, 'status': 403, 'headers': (), _SAID: message})",
    ): "of a handshake that the app rejects: it is told by what follows, and nothing is sent",
    **{("stores/redis.py", f"RedisStore.{verb}"): "of an app by itself" for verb in VERBS},
    **{("stores/routing/units.py", f"Units.{verb}"): "of an app by itself" for verb in VERBS},
    ("stores/routing/units.py", "Units.reset.forget"): "of that",
    ("stores/routing/units.py", "Units._settle"): "of that",
    ("stores/fallback/reconcile.py", "Reconciliation.settle"): "a task of its own, which no request waits for",
    ("stores/fallback/reconcile.py", "Reconciliation._check_refunds"): "of that task",
    ("stores/fallback/reconcile.py", "Reconciliation._resolve"): "of that task",
    ("stores/fallback/reconcile.py", "Reconciliation.close"): "at shutdown",
    ("stores/fallback/debts.py", "DebtWriter.charge"): "of the task that settles",
    ("stores/fallback/debts.py", "DebtWriter._charge"): "of the task that settles",
    ("stores/fallback/debts.py", "DebtWriter._charge_there"): "of the task that settles",
    ("stores/fallback/debts.py", "DebtWriter._charge_one"): "of the task that settles",
    ("stores/fallback/gate.py", "NodeGate.call"): "of the task that settles",
    ("stores/fallback/gate.py", "NodeGate.call_there"): "of the task that settles",
}
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
# Not those of tests/control/test_cancelled.py, nor what no request but a test's comes through, nor a command's own.
APART = ("control/", "fastapi/deciding.py", "testing/", "cli/", "explanation/")
FILES = [file for file in FILES if not file.startswith(APART)]
IN_THE_BACKGROUND = {"Link._run", "ClusterNodes._learn", "ClusterNodes._ask"}


KINDS = ("memory", *ON_SERVERS)
Server = servers.Server | clusters.Cluster | None


@pytest.fixture(scope="module")
def started() -> Iterator[dict[str, Server]]:
    """Of its own: they are stopped at times."""
    with ExitStack() as stack:
        single = {name: stack.enter_context(servers.run(name)) for name in ("valkey", "redis")}
        yield {"memory": None, **single, "cluster": stack.enter_context(clusters.run_cluster("valkey"))}


def store_of(server: Server, scenario: Scenario) -> Store:
    timeout = 0.1 if scenario.moving else 10
    if server is None:
        return MemoryStore()
    return RedisStore(server.url, prefix=next(_prefixes), timeout=timeout)


@dataclass
class Attempt:
    """One request of ana's that is cancelled, between two of ben's."""

    scenario: Scenario
    site: Site
    cancellation: Cancellation
    entered: bool = False
    ended: bool = False
    handed: list[int] = field(default_factory=list)  # messages of a connection that the app has had

    async def run(self) -> None:
        limiter = self.site.limiter
        scope = scope_of(self.scenario.path, api_key=ANA)
        scope["type"] = self.scenario.type
        scope["test.handed"] = self.handed
        if self.scenario.answers:
            scope["extensions"] = {"websocket.http.response": {}}
        receiving = connection() if self.scenario.type == "websocket" else receive

        async def send(message: Message) -> None:
            await asyncio.sleep(0)
            self.ended = self.ended or (message["type"] == "http.response.body" and not message.get("more_body"))

        neighbours = [Neighbour(limiter) for _ in range(2 * self.scenario.neighbours)]
        for neighbour in neighbours[:1]:
            neighbour.ask()
        request = self.cancellation.task(limiter(scope, receiving, send))
        for neighbour in neighbours[1:]:
            neighbour.ask()
        with self.scenario.trouble(self.site):
            await quietly(request)
        self.entered = "ratelimit" in scope
        seen = [used for neighbour in neighbours if (used := await neighbour.got_its_own())]
        first, Neighbour.last = Neighbour.last + 1, Neighbour.last + len(seen)
        assert sorted(seen) == list(range(first, Neighbour.last + 1))  # in any order: who is refused asks again


class Neighbour:
    """A request of another caller, which goes to the store in the same call."""

    last: int

    def __init__(self, limiter: RateLimitMiddleware) -> None:
        self._limiter = limiter
        self._scope = scope_of("/items/7", api_key=BEN)
        self._sent: list[Message] = []

    def ask(self) -> None:
        async def send(message: Message) -> None:
            self._sent.append(message)

        self._task = asyncio.create_task(quietly(self._limiter(self._scope, receive, send)))

    async def got_its_own(self) -> int | None:
        """What it has used; None where it is denied, as everybody of its policy is."""
        await self._task
        decision = self._scope.get("ratelimit")
        if decision is None:
            assert self._sent[0]["status"] == 403  # a max of 0
            return None
        assert not decision.unavailable
        assert decision.states[0].charge.key.startswith("{user=ben}")
        return decision.states[0].used


async def used(limiter: RateLimitMiddleware, operation: str = "search") -> list[int]:
    """What ana has used of each limit, by the store, behind all that was sent before."""
    identity = limiter.policy.identify(scope_of("/items/7", api_key=ANA))
    identity = identity if isinstance(identity, tuple) else await identity
    charges = limiter.policy.charges(identity, operation)
    decision = await limiter.store.acquire(tuple([replace(charge, cost=0) for charge in charges]))
    return [state.used for state in decision.states]


async def without_slots(limiter: RateLimitMiddleware) -> list[int]:
    """The same, once no slot is held: fails when one is kept."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(StoreUnavailable):  # a slot may be on its way a moment longer
                seen = await used(limiter)
                if not any(seen[2:]):
                    return seen[:2]
            await asyncio.sleep(0.01)


def at_acquire(places: list[Place]) -> bool:
    (acquire,) = [wait for wait in waits("middleware.py") if wait.text == ACQUIRE]
    return any(map(acquire.holds, places))


async def walk(scenario: Scenario, site: Site, when: When) -> set[Place]:
    """Cancel at each suspension in turn, until the request ends before there is one; every site it was cancelled at."""
    reached: set[Place] = set()
    for at in count(1):
        before = [] if scenario.moving else await without_slots(site.limiter)
        told = await used(site.limiter, "message") if scenario.on_excess else []
        if scenario.cold:
            await site.limiter.store.close()
        cancellation = Cancellation(at, when, lambda places: scenario.on_suspension(site, places))
        attempt = Attempt(scenario, site, cancellation)
        await attempt.run()
        if not scenario.moving:
            check(attempt, before, await without_slots(site.limiter))
        if scenario.on_excess == "close":
            check_messages(attempt, told, await used(site.limiter, "message"))
        reached |= set(cancellation.places)
        if not cancellation.places:
            break
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert {task.get_coro().__qualname__ for task in left} <= IN_THE_BACKGROUND
    return reached


async def nothing_left(site: Site) -> None:
    """No task and no timer."""
    await site.limiter.store.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not any(held._due or held._timer for held in site.limiter._leases._held.values())


def connections(site: Site) -> int:
    """That the servers have, but for those by which keys move from one to another."""
    count = 0
    for node in site.nodes:
        with node.client() as client:
            count += sum(one["cmd"] not in ("restore-asking", "restore") for one in client.client_list(_type="normal"))
    return count


def check(attempt: Attempt, before: list[int], after: list[int]) -> None:
    """What was charged: once for the app's work, at most once while the call was under way, and else nothing."""
    rate, quota = (now - then for now, then in zip(after, before, strict=True))
    assert rate == quota  # all or nothing
    if not attempt.scenario.charged or pauses(attempt.cancellation.places):  # who is refused asks again, or never did
        assert rate == 0
    elif attempt.entered:
        assert rate == 1
    else:
        assert rate in ((0, 1) if at_acquire(attempt.cancellation.places) else (0,))


def check_messages(attempt: Attempt, before: list[int], after: list[int]) -> None:
    """Each that the app was handed was charged, and no other but one that the store was asked for just then."""
    (charged,) = [now - then for now, then in zip(after, before, strict=True)]
    (asked,) = [wait for wait in waits("websockets/messages.py") if wait.function == "Messages.decided"]
    handed = len(attempt.handed)
    maybe = any(map(asked.holds, attempt.cancellation.places))
    assert charged in ((handed, handed + 1) if maybe else (handed,))


def new_site(scenario: Scenario, server: Server) -> Site:
    app = full(scenario.app, lambda: site) if scenario.full else scenario.app
    limiter = RateLimitMiddleware(app, policy_of(scenario), store=store_of(server, scenario), **more_of(scenario))
    site = Site(limiter, server)
    return site


async def moved(cluster: clusters.Cluster, source: int, target: int) -> None:
    with clusters.Move(cluster, slot("ana"), source, target) as move:
        await asyncio.to_thread(whole, move)


def whole(move: clusters.Move) -> None:
    move.begin()
    servers.until(lambda: not move.keys())
    move.end()


async def walk_while_it_moves(scenario: Scenario, site: Site, when: When) -> set[Place]:
    """With one of the caller's keys at another node already, so that no node can decide."""
    cluster = site.server
    assert isinstance(cluster, clusters.Cluster)
    assert isinstance(site.limiter.store, RedisStore)
    await quietly(site.limiter(scope_of(), receive, nobody))
    before = await without_slots(site.limiter)
    with clusters.Move(cluster, slot("ana"), 0, 1) as move:
        move.begin()
        assert move.keys(1, f"{site.limiter.store.prefix}:")
        reached = await walk(scenario, site, when)
        servers.until(lambda: not move.keys())
        move.end()
    assert await without_slots(site.limiter) == before
    await moved(cluster, 1, 0)
    return reached


async def nobody(message: Message) -> None:
    """Hears it."""


Cancelled = Callable[[str, Scenario, When], set[Place]]


@pytest.fixture(scope="module")
def cancelled(started: dict[str, Server]) -> Cancelled:
    """Does it once, and says where the request was cancelled."""

    @cache
    def cancel(kind: str, scenario: Scenario, when: When) -> set[Place]:
        async def main() -> set[Place]:
            Neighbour.last = 0
            site = new_site(scenario, started[kind])
            before = connections(site)
            reached = await (walk_while_it_moves if scenario.moving else walk)(scenario, site, when)
            await nothing_left(site)
            servers.until(lambda: connections(site) <= before)
            return reached

        return asyncio.run(main())

    return cancel


CASES = [
    (kind, scenario, when) for kind in KINDS for scenario in ALL if kind in scenario.stores for when in get_args(When)
]


@pytest.mark.parametrize(("kind", "scenario", "when"), CASES, ids=str)
def test_cancelled(kind: str, scenario: Scenario, when: When, cancelled: Cancelled) -> None:
    """Cancelled at any of its suspensions, before and after what it waited for was there, a request is charged at most
    once and only while its call was under way or its app was called; nothing is left, and others get their own."""
    assert cancelled(kind, scenario, when)


def test_every_await(cancelled: Cancelled) -> None:
    """The requests above were cancelled at every `await` that there is on their path in the source; those that are not
    on it are listed with the reason."""
    reached = set[Place]().union(*[cancelled(*case) for case in CASES])
    written = waits(*FILES)
    apart = {wait for wait in written if ELSEWHERE.keys() & {(wait.file, wait.function), (wait.file, wait.text)}}
    assert {wait for wait in written if any(map(wait.holds, reached))} == {*written} - apart
    named = {(wait.file, name) for wait in written for name in (wait.function, wait.text)}
    assert ELSEWHERE.keys() <= named  # nothing is listed that is not there


async def keeps(*_: object) -> None:
    """In the place of what gives slots back."""


async def charges_again(router: Router, charges: Sequence[Charge]) -> Decision:
    """In the place of what decides: asks once more for who is gone."""
    try:
        return await decide(router, charges)
    except asyncio.CancelledError:
        router.give_back((await decide(router, charges)).leases)
        raise


def disturbs(batch: Batch, reply: Reply, now: float) -> None:
    """In the place of what tells each caller its own: who is gone fails the others."""
    if any(result.cancelled() for result, _, _, _ in batch.calls):
        batch.fail("somebody is gone")
    else:
        resolve(batch, reply, now)


decide, resolve = Router.acquire, Batch.resolve


@pytest.mark.parametrize(
    ("owner", "name", "other", "error"),
    [
        (Leases, "release", keeps, TimeoutError),
        (LeaseWrites, "post_release", lambda writes, leases: None, TimeoutError),
        (Router, "acquire", charges_again, AssertionError),
        (Batch, "resolve", disturbs, AssertionError),
    ],
    ids=["kept after the app", "kept after a call", "charged twice", "disturbed"],
)
def test_the_walk_can_fail(
    owner: type,
    name: str,
    other: object,
    error: type[Exception],
    started: dict[str, Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A slot that is kept is found, after the app or of a call under way; so are a request that is charged twice, and a
    caller who fails for another."""
    monkeypatch.setattr(owner, name, other)
    monkeypatch.setitem(globals(), "PATIENCE", 0.5)

    async def main() -> None:
        site = new_site(ALL[0], started["valkey"])
        Neighbour.last = 0
        try:
            with pytest.raises(error):
                await walk(ALL[0], site, "at once")
        finally:
            await site.limiter._leases.close()
            await site.limiter.store.close()

    asyncio.run(main())
