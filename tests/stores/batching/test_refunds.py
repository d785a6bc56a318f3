"""What was taken ahead and not spent goes back to where it was counted: once, or never."""

from __future__ import annotations

import asyncio

import pytest

from ratelimit.model import Charge
from ratelimit.stores.batching.allotments import Demand
from tests import servers
from tests.stores import SCRIPTS, Subject, queue_of, quota, rate, router_of
from tests.stores.clock import Clock, T, ahead, caller_of, clocked, fields, left, script_calls, settled
from tests.stores.simulation import MIDNIGHT, moved

BOTH = (ahead(rate(1_000, 60_000)), ahead(quota(1_000, "day")))
WARM = (rate(9, 1_000, key="warm"),)
J = T // 1_000  # the sub-window of T, in a window of a minute in 60
SLOT = str(J % 61)
DAY = MIDNIGHT - 86_400_000


@pytest.fixture
def subject(server: servers.Server, monkeypatch: pytest.MonkeyPatch) -> Subject:
    """Every caller is fast enough for ten units ahead."""
    monkeypatch.setattr(Demand, "wanted", lambda *_: 10)
    return clocked(server)


async def spend(subject: Subject, charges: tuple[Charge, ...], times: int) -> None:
    for _ in range(times):
        assert (await subject.store.acquire(charges)).allowed


def test_what_is_left_goes_back(server: servers.Server, subject: Subject, clock: Clock) -> None:
    """When the sub-window ends, to the units: to its own slot, the sum, and the quota; in one command, sent once."""

    async def test() -> None:
        await spend(subject, BOTH, 4)
        assert fields(server, subject) == {"h": J, "s": 11, SLOT: 11}
        assert fields(server, subject, "quota") == {"n": 11, "t": T, "e": MIDNIGHT}
        before = script_calls(server)
        clock.to(T + 998.9)
        await settled(subject)
        assert (left(subject, BOTH), script_calls(server)) == (0, before + 1)
        assert fields(server, subject) == {"h": J, "s": 4, SLOT: 4}
        assert fields(server, subject, "quota") == {"n": 4, "t": T, "e": MIDNIGHT}
        clock.to(T + 5_000)
        queue_of(subject.store).refunds.give_all_back()
        await settled(subject)
        assert script_calls(server) == before + 1

    subject.run(test())


def test_what_was_reset(server: servers.Server, subject: Subject, clock: Clock) -> None:
    """Nothing goes back to a counter that this process has reset: it would be somebody else's. Of others it does."""
    other = (ahead(rate(1_000, 60_000, key="other")),)

    async def test() -> None:
        await spend(subject, BOTH, 4)
        await spend(subject, other, 4)
        assert await subject.store.reset([BOTH[0].key]) == 1
        assert (left(subject, BOTH), left(subject, other)) == (0, 7)
        await subject.store.charge(BOTH[:1], 3)
        clock.to(T + 998.9)
        await settled(subject)
        assert fields(server, subject) == {"h": J, "s": 3, SLOT: 3}
        assert fields(server, subject, "other") == {"h": J, "s": 4, SLOT: 4}

    subject.run(test())


def test_nothing_is_left(server: servers.Server, subject: Subject, clock: Clock) -> None:
    """Of a block that was spent nothing is sent."""

    async def test() -> None:
        await spend(subject, BOTH, 11)
        before = script_calls(server)
        clock.to(T + 5_000)
        await settled(subject)
        assert (fields(server, subject)["s"], script_calls(server)) == (11, before)

    subject.run(test())


def test_a_cost_goes_back_with_each_unit(server: servers.Server, subject: Subject, clock: Clock) -> None:
    """Units of a limit are requests times their cost; a limit that costs nothing is left alone."""
    charges = (ahead(rate(1_000, 60_000, cost=3)), ahead(quota(1_000, "day")), rate(1_000, 60_000, key="no", cost=0))

    async def test() -> None:
        await spend(subject, charges, 2)
        assert (fields(server, subject)["s"], fields(server, subject, "quota")["n"]) == (33, 11)
        clock.to(T + 1_000)
        await settled(subject)
        assert (fields(server, subject)["s"], fields(server, subject, "quota")["n"]) == (6, 2)
        assert fields(server, subject, "no") == {}

    subject.run(test())


@pytest.mark.parametrize("again", [False, True], ids=["it is gone", "there is another one"])
def test_a_lost_connection(server: servers.Server, subject: Subject, clock: Clock, *, again: bool) -> None:
    """After its connection was lost nothing is given back: behind a new one may be a server that knows of nothing."""

    async def test() -> None:
        await spend(subject, BOTH, 4)
        link = queue_of(subject.store).link
        with server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        async with asyncio.timeout(10):
            while link.ready:  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0)
        if again:
            await subject.store.acquire(WARM)
        clock.to(T + 1_000)
        assert left(subject, BOTH) == 0
        await subject.store.acquire(WARM)
        await settled(subject)
        assert fields(server, subject) == {"h": J, "s": 11, SLOT: 11}

    subject.run(test())


def test_close_gives_back(server: servers.Server, subject: Subject, clock: Clock) -> None:
    """What is there when the store is closed goes back before its connection ends, and can't be spent any more."""

    async def test() -> None:
        await spend(subject, BOTH, 4)
        allotment = caller_of(subject, BOTH).allotment
        await subject.store.close()
        assert allotment
        assert allotment.left == 0
        assert fields(server, subject) == {"h": J, "s": 4, SLOT: 4}

    subject.run(test())


def test_who_is_forgotten_gives_back(server: servers.Server, subject: Subject, clock: Clock) -> None:
    """Units of a caller that is no longer among those of late go back all the same."""

    async def test() -> None:
        await spend(subject, BOTH, 4)
        router_of(subject.store).callers.recent.__init__()
        clock.to(T + 1_000)
        await settled(subject)
        assert fields(server, subject)["s"] == 4

    subject.run(test())


def test_who_asked_has_gone(server: servers.Server, subject: Subject, clock: Clock) -> None:
    """Units that come with the reply to a request that was cancelled are there for the next one."""

    async def test() -> None:
        await subject.store.acquire(WARM)
        asking = asyncio.create_task(subject.store.acquire(BOTH))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it is sent
        asking.cancel()
        await settled(subject)
        assert asking.cancelled()
        before = script_calls(server)
        assert (await subject.store.acquire(BOTH)).states[0].used == 2
        assert script_calls(server) == before

    subject.run(test())


def test_a_counter_of_another_type(server: servers.Server, subject: Subject, clock: Clock) -> None:
    """Where a key was overwritten nothing goes back to it, and nobody else is bothered."""

    async def test() -> None:
        await spend(subject, BOTH, 4)
        with server.client() as client:
            client.set(f"{subject.prefix}:{{user=ana}}:rate", "text")
        clock.to(T + 1_000)
        await spend(subject, WARM, 1)
        assert (fields(server, subject, "quota")["n"], queue_of(subject.store).link.number) == (4, 1)

    subject.run(test())


R, Q = ("r", -3, 60_000, 60, J), ("q", -3, DAY, MIDNIGHT, 0)


@pytest.mark.parametrize(
    ("what", "now", "there", "then"),
    [
        (R, T, {"h": J, "s": 9, SLOT: 7}, {"s": 6, SLOT: 4}),
        (R, T, {"h": J, "s": 3, SLOT: 2}, {"s": 1, SLOT: 0}),  # no more than is there
        (R, T + 2_000, {"h": J + 2, "s": 12, SLOT: 7, "9": 5}, {"s": 9, SLOT: 4}),
        (R, T + 60_000, {"h": J + 60, "s": 7, SLOT: 7}, {"s": 4, SLOT: 4}),
        (R, T + 61_000, {"h": J + 61, "s": 7, SLOT: 7}, {}),  # the slot is of another sub-window
        (R, T + 90_000, {"h": J + 90, "s": 7, SLOT: 7}, {}),
        (R, T + 90_000, {"h": J, "s": 7, SLOT: 7}, {"s": 4, SLOT: 4}),  # nobody came since: it is over anyway
        (R, T - 1_000, {"h": J - 1, "s": 7, SLOT: 7}, {}),  # the clock went far back
        (R, T, {"h": J, "s": 7}, {}),
        (R, T, {}, {}),
        (Q, T, {"n": 9, "t": T, "e": MIDNIGHT}, {"n": 6}),
        (Q, T, {"n": 2, "t": T, "e": MIDNIGHT}, {"n": 0}),
        (Q, MIDNIGHT, {"n": 9, "t": MIDNIGHT, "e": MIDNIGHT + 86_400_000}, {}),  # of the next day
        (Q, T, {"n": 9, "t": DAY - 1, "e": MIDNIGHT}, {}),
        (Q, T, {}, {}),
        (Q, DAY - 1, {"n": 9, "t": T, "e": MIDNIGHT}, {}),  # it has not begun by this clock
    ],
)
def test_where_it_goes(
    server: servers.Server,
    clock: Clock,
    what: tuple[object, ...],
    now: int,
    there: dict[str, int],
    then: dict[str, int],
) -> None:
    """Only to where it was counted, and no more than is there: three units that were charged at T."""
    key = clocked(server).prefix
    with server.client() as client:
        if there:
            client.hset(key, mapping=there)
        clock.to(now)
        client.eval(moved(SCRIPTS["settle"]).text, 1, key, "", *what)
        found = {field.decode(): int(value) for field, value in client.hgetall(key).items()}
    assert found == there | then


def test_a_refund_to_a_counter_of_another_type(server: servers.Server, clock: Clock) -> None:
    """Is told as what became of that item, which nobody reads of a refund."""
    key = clocked(server).prefix
    with server.client() as client:
        client.set(key, "text")
        _, told = client.eval(moved(SCRIPTS["settle"]).text, 1, key, "", *R)
        assert told.startswith(b"WRONGTYPE")


@pytest.mark.parametrize(("newest", "goes_back"), [(b"7", 9), (b"6", 0), (b"", 0)])
def test_what_the_store_forgot(subject: Subject, clock: Clock, newest: bytes, goes_back: int) -> None:
    """Nothing goes back of a call that is newer than the newest that the store knows of; it can still be spent."""
    given: list[int] = []

    async def test() -> None:
        await spend(subject, BOTH, 2)
        refunds = queue_of(subject.store).refunds
        refunds.keep_account(lambda _charges, units, *_: given.append(units), by_marker=True)
        allotment = caller_of(subject, BOTH).allotment
        assert allotment
        allotment.number = b"7"
        refunds.drop(after=newest)
        assert left(subject, BOTH) == 9
        clock.to(T + 1_000)
        await settled(subject)
        assert sum(given) == goes_back

    subject.run(test())
