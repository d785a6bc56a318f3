"""A denied caller is answered here, without a command, until it could succeed; and no longer than a second."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.model import FOREVER, Charge, Decision, State, StoreUnavailable
from ratelimit.stores.batching import queue as queue_module
from ratelimit.stores.batching.callers import Caller, SentTermSets
from ratelimit.stores.redis import RedisStore
from ratelimit.stores.routing import router as router_module
from tests import servers
from tests.stores import Subject, charge, concurrency, quota, rate
from tests.stores.conftest import subject_of
from tests.stores.wires import T, spy

DAY = 86_400_000
MINUTE = 60_000


class World:
    """A subject on a server, and the time that passes for it and for the store."""

    def __init__(self, server: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.subject = Subject(server.name, server.unix_url)
        self._slept_ms, self._monotonic = 0.0, 5_000.0
        clock = SimpleNamespace(monotonic=lambda: self._monotonic, time_ns=lambda: self.subject.now_ms * 1_000_000)
        monkeypatch.setattr(queue_module, "time", clock)
        monkeypatch.setattr(router_module, "time", clock)
        self.sleep(0)

    def sleep(self, ms: float) -> None:
        self._slept_ms += ms
        self._monotonic += ms / 1000 + 1e-7  # never less, however it is rounded
        self.subject.at(T + int(self._slept_ms))

    def watch(self) -> list[list[bytes]]:
        """What is sent for decisions from now on."""
        return spy(self.subject.store)

    async def ask(self, charges: tuple[Charge, ...], times: int = 1) -> Decision:
        """The last of some decisions."""
        return [await self.subject.store.acquire(charges) for _ in range(times)][-1]

    async def asks(self, charges: tuple[Charge, ...]) -> bool:
        """Whether a request of this caller goes to the store."""
        with servers.Monitor(self.server) as monitor:
            await self.subject.store.acquire(charges)
        return bool(monitor.commands)


@pytest.fixture(params=["valkey", "redis"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(request.getfixturevalue(request.param), monkeypatch)


def test_a_flood(world: World) -> None:
    """A flood of a denied caller sends nothing until it could succeed: then one command, and it is admitted."""
    charges = (rate(2, 600, 6), quota(99))

    async def test() -> None:
        assert (await world.ask(charges, times=2)).allowed
        world.sleep(99)
        denial = await world.ask(charges)
        assert denial.states[0].retry_after_ms == 601  # T is the start of a sub-window of 100 ms
        with servers.Monitor(world.server) as monitor:
            for _ in range(600):
                assert not (await world.ask(charges, times=5)).allowed
                world.sleep(1)
            assert not (await world.ask(charges)).allowed
            assert monitor.commands == []
            world.sleep(1)
            assert (await world.ask(charges)).allowed
        sent = [command.split()[0] for command in monitor.commands]
        assert sent in (["EVALSHA"], ["EVALSHA", "EVAL"])  # the script of another clock is not in the cache

    world.subject.run(test())


def test_the_wait_shrinks_truly(world: World) -> None:
    """What is answered here has the time that is left: the instants that it says stay the same, and it never says 0."""
    charges = (rate(2, 10_000, 7), quota(2), rate(99, MINUTE, key="free"))

    async def test() -> None:
        asked = [await world.ask(charges, times=3)]
        calls = world.watch()
        for ms in (1, 0.5, 0.7, 330.25, 500, 166.5):
            world.sleep(ms)
            asked.append(await world.ask(charges))
        assert calls == []
        assert len({d.now_ms for d in asked}) == 6  # 0.5 ms is none
        for field in ("retry_after_ms", "reset_after_ms"):
            for c in range(3):
                ends = {d.now_ms + getattr(d.states[c], field) for d in asked if getattr(d.states[c], field)}
                assert len(ends) == (0 if (field, c) == ("retry_after_ms", 2) else 1)
        assert [[s[:3] for s in d.states] for d in asked] == [[s[:3] for s in asked[0].states]] * 7
        assert all(d.leases == () and not d.allowed for d in asked)

    world.subject.run(test())


@given(
    sent=st.floats(0, 1e7), travel=st.floats(0, 5), retry=st.integers(1, 5_000), part=st.floats(0, 1, exclude_max=True)
)
def test_never_0(sent: float, travel: float, retry: int, part: float) -> None:
    """Whatever the clocks say, a denial that is answered here tells to wait, by what the store said or less."""
    charges = (rate(9, MINUTE),)
    caller = Caller(charges, "p:", SentTermSets(), T)
    state = State(charges[0], 9, 9, 60_000, MINUTE, True, retry)
    caller.refused(Decision(False, T, (state,)), caller.term_set.until_ms, sent, sent + travel)
    refusal = caller.refusal_at(max(sent + travel, sent + part * min(retry, 1_000) / 1_000))
    if refusal:
        (later,) = refusal.states
        assert later.retry_after_ms is not None
        assert 0 < later.retry_after_ms <= retry
        assert refusal.now_ms + later.retry_after_ms == T + retry
    assert caller.refusal_at(sent + min(retry, 1_000) / 1_000) is None


@pytest.mark.parametrize(
    "charges",
    [(rate(1, MINUTE),), (quota(1, "year"),), (rate(1, MINUTE, cost=2),), (rate(1, MINUTE), quota(1))],
    ids=["a rate", "a quota", "never", "both"],
)
def test_a_reset_is_seen_within_a_second(world: World, charges: tuple[Charge, ...]) -> None:
    """However long the wait, after a second the store is asked again: a counter that was deleted admits."""

    async def test() -> None:
        denial = await world.ask(charges, times=2)
        assert not denial.allowed
        with world.server.client() as client:
            for one in charges:
                client.delete(f"{world.subject.prefix}:{one.key}")
        world.sleep(999)
        assert not (await world.ask(charges)).allowed
        calls = world.watch()
        world.sleep(1)
        again = await world.ask(charges)
        assert again.allowed == (charges[0].cost == 1)
        assert calls
        if not again.allowed:
            assert again.states[0].retry_after_ms is None
            assert not await world.asks(charges)

    world.subject.run(test())


def test_what_is_remembered_is_one_set_of_charges(world: World) -> None:
    """Another cost, another policy, or the same limits read anew: each asks by itself."""
    heavy = (rate(5, MINUTE, cost=4),)
    others = {"light": rate(5, MINUTE), "raised": rate(9, MINUTE, cost=4), "same": rate(5, MINUTE, cost=4)}

    async def test() -> None:
        assert (await world.ask(heavy)).allowed
        assert not (await world.ask(heavy)).allowed
        assert not await world.asks(heavy)
        for name, other in others.items():
            assert await world.asks((other,)), name
        assert (await world.ask((rate(50, MINUTE, cost=4),))).allowed
        assert not (await world.ask(heavy)).allowed

    world.subject.run(test())


@pytest.mark.parametrize(
    "charges",
    [(concurrency(1),), (rate(9, MINUTE), concurrency(1)), (concurrency(1), rate(1, MINUTE), quota(1))],
    ids=["a cap", "beside a rate", "beside a rate that denies too"],
)
def test_a_cap_is_never_remembered(world: World, charges: tuple[Charge, ...]) -> None:
    """A slot can free at any time: a denial that a concurrency cap has a part in is asked again each time."""

    async def test() -> None:
        held = await world.ask(charges)
        assert not (await world.ask(charges)).allowed
        assert await world.asks(charges)
        await world.subject.release(*held.leases)
        assert (await world.ask(charges)).allowed == (len(charges) < 3)

    world.subject.run(test())


def test_a_cap_that_has_room_is_no_hindrance(world: World) -> None:
    """A rate that denies is remembered also where a cap with free slots is asked for beside it."""
    charges = (concurrency(9), rate(1, MINUTE))

    async def test() -> None:
        assert not (await world.ask(charges, times=2)).allowed
        assert not await world.asks(charges)

    world.subject.run(test())


def test_a_shadow_limit_is_no_denial(world: World) -> None:
    """An exceeded shadow limit lets through, and each request is asked for and charged."""
    charges = (rate(1, MINUTE, key="s", mode="shadow"), rate(9, MINUTE))

    async def test() -> None:
        for used in range(1, 4):
            decision = await world.ask(charges)
            assert (decision.allowed, decision.states[1].used) == (True, used)
        assert await world.asks(charges)

    world.subject.run(test())


def test_a_max_that_will_be_raised(world: World) -> None:
    """Where a higher max is in force before anything leaves the window, the store is asked at that instant."""
    charges = (charge(rate(1, MINUTE).limit.kind, 1, maxes=((T + 300, 1), (FOREVER, 9))),)

    async def test() -> None:
        denial = await world.ask(charges, times=2)
        assert denial.states[0].retry_after_ms == 300
        world.sleep(299)
        assert not await world.asks(charges)
        world.sleep(1)
        assert (await world.ask(charges)).allowed

    world.subject.run(test())


def test_a_brownout_that_ends(world: World) -> None:
    """A denial that is remembered does not outlive its stage, nor does the shadow before it."""
    stages = ((T + 100, False), (T + 300, True), (FOREVER, False))
    charges = (rate(1, MINUTE, stages=stages),)

    async def test() -> None:
        assert (await world.ask(charges, times=2)).allowed
        world.sleep(99)
        assert (await world.ask(charges)).allowed
        world.sleep(1)
        denial = await world.ask(charges)
        assert (denial.allowed, denial.states[0].retry_after_ms) == (False, 200)
        world.sleep(199)
        assert not await world.asks(charges)
        world.sleep(1)
        assert (await world.ask(charges)).allowed

    world.subject.run(test())


def test_another_process_asks(world: World) -> None:
    """What is remembered is of one store object: another one asks for itself, and agrees."""
    charges = (rate(1, MINUTE),)

    async def test() -> None:
        assert not (await world.ask(charges, times=2)).allowed
        other = RedisStore(world.server.unix_url, prefix=world.subject.prefix)
        other.scripts = world.subject.store.scripts
        with servers.Monitor(world.server) as monitor:
            decision = await other.acquire(charges)
            assert decision == await world.ask(charges)
        assert sum(command.startswith("EVALSHA") for command in monitor.commands) == 1
        await other.close()

    world.subject.run(test())


@pytest.mark.parametrize("name", ["valkey", "redis"])
def test_a_store_that_goes_away(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the second in which a denial is certain it needs no store; after it the store's absence is told."""
    charges = (rate(1, MINUTE),)

    async def test() -> None:
        assert not (await world.ask(charges, times=2)).allowed
        own_server.process.kill()
        own_server.process.wait()
        world.sleep(999)
        assert not (await world.ask(charges)).allowed
        with pytest.raises(StoreUnavailable):
            await world.ask((rate(1, MINUTE),))
        world.sleep(1)
        with pytest.raises(StoreUnavailable):
            await world.ask(charges)

    with servers.run(name) as own_server:
        world = World(own_server, monkeypatch)
        world.subject.run(test())


# Within a sub-window, over its edge, over a second, over a window, to another day.
WAITS = st.one_of(st.integers(0, 3), st.integers(0, 400), st.integers(0, 2_500), st.sampled_from([MINUTE, DAY]))
STEPS = st.lists(st.tuples(WAITS, st.integers(0, 3)), min_size=5, max_size=30)


@pytest.mark.repeated
@pytest.mark.parametrize("name", ["valkey", "redis"])
def test_nothing_else_is_decided(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without a memory of denials the same requests are admitted, and told the same waits."""
    server = request.getfixturevalue(name)

    @settings(max_examples=30, deadline=None)
    @given(STEPS, st.integers(0, 4), st.integers(1, 3), st.sampled_from([(700, 7), (5_000, 60), (2_000, 3)]))
    def same(steps: list[tuple[int, int]], maximum: int, cost: int, window: tuple[int, int]) -> None:
        world, plain = World(server, monkeypatch), subject_of(name, request)
        step_up = ((T + 900, maximum), (T + 4_000, 1), (FOREVER, maximum + 1))
        stages = ((T + 1_500, False), (T + 2_100, True), (T + 3_000, False), (FOREVER, True))
        callers = [
            (rate(maximum, *window, key="a", cost=cost), quota(20, "day", key="qa")),
            (rate(maximum, *window, key="b"), rate(9, 3_000, 3, key="b2", cost=cost), quota(7, "day", key="qb")),
            (rate(maximum, *window, key="b", cost=2), quota(7, "day", key="qb")),  # counts with the one above
            (rate(1, *window, key="c", maxes=step_up), rate(1, 1_000, 9, key="s", stages=stages)),
        ]

        async def test() -> None:
            for wait, who in steps:
                world.sleep(wait)
                plain.at(world.subject.now_ms)
                with_memory = await world.ask(callers[who])
                without = await plain.store.acquire(list(callers[who]))  # of a list nothing is remembered
                assert (with_memory.allowed, with_memory.now_ms) == (without.allowed, without.now_ms)
                if who in (0, 3):  # whose counters are its own
                    assert [s[3:] for s in with_memory.states] == [s[3:] for s in without.states]
            await plain.store.close()

        world.subject.run(test())

    same()
