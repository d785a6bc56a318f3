"""What the scripts keep of calls, so that each is applied once or never, and of what is charged later."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from ratelimit.stores.fallback.doubt import InDoubt
from ratelimit.stores.lua.scripts import Script
from tests import servers
from tests.stores import Subject, at, concurrency, quota, rate

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
MARCH, APRIL = 1_772_323_200_000, 1_775_001_600_000
SETTLE, RESOLVE = Script.load("settle"), Script.load("resolve")
MARKER = "{user=ana}:m"


@dataclass
class Settler:
    """Calls of lua/settle.lua at one instant."""

    client: Redis
    prefix: str
    number: int = 0

    def __call__(self, now: int, *items: Sequence[object], number: int = 0) -> list[object]:
        self.number = number or self.number + 1
        keys = [f"{self.prefix}:{{user=ana}}:{item[0]}" for item in items]
        arguments = [part for item in items for part in item[1:]]
        text = at(SETTLE, now).text
        _, *outcomes = self.client.eval(
            text, len(keys) + 1, *keys, f"{self.prefix}:{MARKER}", f"{self.number:016d}", *arguments
        )
        return outcomes

    def resolve(self, number: int) -> bytes | None:
        return self.client.eval(RESOLVE.text, 1, f"{self.prefix}:{MARKER}", f"{number:016d}")

    def fields(self, key: str) -> dict[str, int]:
        found = self.client.hgetall(f"{self.prefix}:{{user=ana}}:{key}")
        return {field.decode(): int(value) for field, value in found.items()}


@pytest.fixture
def subject(server: servers.Server) -> Subject:
    return Subject(server.name, server.unix_url)


@pytest.fixture
def settle(server: servers.Server, subject: Subject) -> Iterator[Settler]:
    with server.client() as client:
        yield Settler(client, subject.prefix)


def test_a_rate_is_charged_where_it_was_admitted(subject: Subject, settle: Settler) -> None:
    """Units count from the sub-window in which they were admitted, and leave the window with it; over the max too."""
    minute = rate(10, 60_000)

    async def test() -> None:
        for _ in range(3):
            assert (await subject.at(T).acquire(minute)).allowed
        admitted_at = T // 1_000 + 20
        assert settle(T + 30_000, ("rate", "r", 9, 60_000, 60, admitted_at)) == [1]
        denied = await subject.at(T + 30_000).acquire(minute)
        assert (denied.allowed, denied.states[0].used, denied.states[0].remaining) == (False, 12, 0)
        # The three leave at T + 61 s, which leaves 9 of 10; the nine leave 20 s after them.
        assert denied.states[0].retry_after_ms == 31_000
        after = await subject.at(T + 61_000).acquire(minute)
        assert (after.allowed, after.states[0].used) == (True, 10)
        assert (await subject.at(T + 81_000).acquire(minute)).states[0].used == 2

    subject.run(test())


def test_rates_agree_with_a_log(subject: Subject, settle: Settler) -> None:
    """Charged at once or later, in any order, a window holds what was admitted in its sub-windows: as a log of them."""
    dice = random.Random(7)
    short = rate(10_000, 1_000, 10)

    async def test() -> None:
        now, log = T, Counter[int]()
        for _ in range(400):
            now += dice.choice([0, 3, 40, 100, 250, 900, 1_200])
            current = now * 10 // 1_000
            if dice.random() < 0.5:
                place, units = current - dice.choice([0, 0, 1, 3, 9, 10, 11, 30]), dice.randint(1, 5)
                expected = 1 if current - place <= 10 else 0
                assert settle(now, ("rate", "r", units, 1_000, 10, place)) == [expected]
                log[place] += units * expected
            else:
                decision = await subject.at(now).acquire(short)
                log[current] += 1
                used = sum(units for place, units in log.items() if current - 10 <= place <= current)
                assert decision.states[0].used == used

    subject.run(test())


def test_a_rate_that_was_not_there(settle: Settler) -> None:
    """Where nothing is left of a counter, or all of it is void, it begins with what is charged, and expires."""
    place = T // 1_000
    assert settle(T + 500, ("rate", "r", 4, 60_000, 60, place)) == [1]
    assert settle.fields("rate") == {"h": place, "s": 4, str(place % 61): 4}
    assert 60_000 < settle.client.pttl(f"{settle.prefix}:{{user=ana}}:rate") <= 62_000
    assert settle(T + 500_000, ("rate", "r", 2, 60_000, 60, place + 490)) == [1]
    assert settle.fields("rate") == {"h": place + 490, "s": 2, str((place + 490) % 61): 2}


def test_a_rate_over_the_gap(settle: Settler) -> None:
    """What has left the window between the last charge and a later sub-window is taken out of the sum."""
    place = T // 1_000
    settle(T, ("rate", "r", 4, 60_000, 60, place))
    settle(T + 30_000, ("rate", "r", 1, 60_000, 60, place + 30))
    assert settle(T + 70_000, ("rate", "r", 2, 60_000, 60, place + 65)) == [1]
    fields = settle.fields("rate")
    assert (fields["s"], fields["h"]) == (3, place + 65)
    assert settle(T + 70_000, ("rate", "r", 5, 60_000, 60, place + 3)) == [0]  # it has left by then


def test_a_clock_ahead(settle: Settler) -> None:
    """A process whose idea of the store's clock is ahead charges the sub-window of now: by then it was admitted."""
    place = T // 1_000
    assert settle(T, ("rate", "r", 4, 60_000, 60, place + 5)) == [1]
    assert settle.fields("rate")["h"] == place


@pytest.mark.parametrize(
    ("now", "outcome", "used"),
    [(T, 1, 9), (MARCH, 1, 9), (APRIL, 0, 4), (MARCH - 1, 2, 4)],
    ids=["its period", "its first instant", "it is over", "it has not begun by this clock"],
)
def test_a_quota_is_charged_in_its_period(subject: Subject, settle: Settler, now: int, outcome: int, used: int) -> None:
    """What is owed of a period that is over is nothing; of one that this clock does not know yet it is still owed."""

    async def test() -> None:
        for _ in range(4):
            await subject.at(T - 1).acquire(quota(100))
        assert settle(now, ("quota", "q", 5, MARCH, APRIL, 0)) == [outcome]
        assert settle.fields("quota")["n"] == used

    subject.run(test())


def test_a_quota_that_was_not_there(subject: Subject, settle: Settler) -> None:
    """A quota that nobody has charged in this period begins with what is owed, and is kept to the end of its period."""

    async def test() -> None:
        assert settle(T, ("quota", "q", 5, MARCH, APRIL, 0)) == [1]
        assert settle.fields("quota") == {"n": 5, "t": T, "e": APRIL}
        assert abs(settle.client.pttl(f"{settle.prefix}:{{user=ana}}:quota") - (APRIL - T + 1_000)) < 5_000
        assert (await subject.at(T).acquire(quota(6))).states[0].used == 6
        assert not (await subject.at(T).acquire(quota(6))).allowed

    subject.run(test())


@pytest.mark.parametrize(
    ("item", "left"),
    [
        (("rate", "r", -3, 60_000, 60, T // 1_000), {"s": 2, "h": T // 1_000, str(T // 1_000 % 61): 2}),
        (("rate", "r", -9, 60_000, 60, T // 1_000), {"s": 0, "h": T // 1_000, str(T // 1_000 % 61): 0}),
        (("rate", "r", -3, 60_000, 60, T // 1_000 - 1), {"s": 5, "h": T // 1_000, str(T // 1_000 % 61): 5}),
        (("quota", "q", -3, MARCH, APRIL, 0), {"n": 2, "t": T, "e": APRIL}),
        (("quota", "q", -9, MARCH, APRIL, 0), {"n": 0, "t": T, "e": APRIL}),
        (("none", "q", -9, MARCH, APRIL, 0), {}),
        (("none", "r", -9, 60_000, 60, T // 1_000), {}),
    ],
)
def test_what_was_charged_for_nothing_goes_back(
    settle: Settler, item: tuple[object, ...], left: dict[str, int]
) -> None:
    """Units below 0 go back to where they were counted, and no more of them than are there."""
    settle(T, ("rate", "r", 5, 60_000, 60, T // 1_000), ("quota", "q", 5, MARCH, APRIL, 0))
    assert settle(T, item) == [1]
    assert settle.fields(str(item[0])) == left


@pytest.mark.parametrize("used", [1, 2])
def test_the_last_unit_goes_back(settle: Settler, used: int) -> None:
    """All that is there goes back, also where that is one unit; and from nothing nothing does."""
    rate, quota = ("rate", "r", used, 60_000, 60, T // 1_000), ("quota", "q", used, MARCH, APRIL, 0)
    settle(T, rate, quota)
    for _ in range(2):
        assert settle(T, ("rate", "r", -used, 60_000, 60, T // 1_000), ("quota", "q", -used, MARCH, APRIL, 0)) == [1, 1]
        assert (settle.fields("rate")["s"], settle.fields("quota")["n"]) == (0, 0)


def test_one_fault_is_its_own(settle: Settler) -> None:
    """A counter of another type is told, and the others of the call are charged."""
    settle.client.set(f"{settle.prefix}:{{user=ana}}:bad", "text")
    why, charged = settle(T, ("bad", "q", 5, MARCH, APRIL, 0), ("quota", "q", 5, MARCH, APRIL, 0))
    assert isinstance(why, bytes)
    assert (why.startswith(b"WRONGTYPE"), charged, settle.fields("quota")["n"]) == (True, 1, 5)
    assert settle.resolve(1) == b"0000000000000001 31"


def test_a_call_is_applied_once(settle: Settler) -> None:
    """A call that comes again, or after its number was given up, is refused and charges nothing."""
    settle(T, ("quota", "q", 5, MARCH, APRIL, 0), number=7)
    assert settle.resolve(7) == b"0000000000000007 1"
    assert settle.resolve(8) is None
    for number in (7, 8):
        with pytest.raises(ResponseError, match="FENCED"):
            settle(T, ("quota", "q", 5, MARCH, APRIL, 0), number=number)
    assert settle.resolve(8) == b"0000000000000008"  # asked again, it says the same: nothing was done
    assert settle.fields("quota")["n"] == 5
    assert settle(T, ("quota", "q", 5, MARCH, APRIL, 0), number=9) == [1]


def test_a_call_that_changed_nothing_leaves_no_marker(settle: Settler) -> None:
    """Where nothing counts any more, nothing is written."""
    settle(APRIL, ("quota", "q", 5, MARCH, APRIL, 0))
    assert settle.client.keys(f"{settle.prefix}:*") == []


def marks(server: servers.Server, subject: Subject) -> list[bytes]:
    """What the markers of decisions hold, without their numbers."""
    with server.client() as client:
        return [client.get(key).partition(b" ")[2] for key in client.keys(f"{subject.prefix}:calls:*")]


@pytest.mark.parametrize("denied", [(), (1,), (0, 2), (0, 1, 2)], ids=str)
def test_what_a_decision_leaves(server: servers.Server, subject: Subject, denied: tuple[int, ...]) -> None:
    """A call that charges everybody leaves its number and its instant, one that charges some also whom; one that
    charges nobody writes nothing."""
    subject.store.keep_account()
    callers = [(rate(1, 60_000, key=f"r{n}"), quota(0 if n in denied else 9, key=f"q{n}")) for n in range(3)]

    async def test() -> None:
        decisions = await asyncio.gather(*[subject.at(T).acquire(*charges) for charges in callers])
        assert [decision.allowed for decision in decisions] == [n not in denied for n in range(3)]
        charged = [b" %d" % (2 * n) for n in range(3) if n not in denied]
        text = b"%d" % T + b"".join(charged if denied else [])
        assert marks(server, subject) == ([text] if charged else [])
        with server.client() as client:
            assert all(0 < client.ttl(key) <= 86_400 for key in client.keys(f"{subject.prefix}:calls:*"))

    subject.run(test())


def test_a_decision_that_was_given_up(server: servers.Server, subject: Subject) -> None:
    """A call that comes after its number was given up is refused: its callers are told, and nothing is charged."""
    subject.store.keep_account()
    charges = (quota(9),)

    async def test() -> None:
        await subject.at(T).store.acquire(charges)
        with server.client() as client:
            (marker,) = client.keys(f"{subject.prefix}:calls:*")
            following = int(client.get(marker).split()[0]) + 1
            assert client.eval(RESOLVE.text, 1, marker, f"{following:016d}") is None
            with pytest.raises(InDoubt, match="FENCED") as caught:
                await subject.store.acquire(charges)
            assert caught.value.doubt.charged_at == 0
            assert (await subject.store.acquire(charges)).states[0].used == 2

    subject.run(test())


def test_without_account_nothing_is_marked(server: servers.Server, subject: Subject) -> None:
    """Where no account is kept, a decision leaves counters and nothing else."""

    async def test() -> None:
        await subject.at(T).acquire(rate(1, 60_000), concurrency(1))
        with server.client() as client:
            assert len(client.keys(f"{subject.prefix}:*")) == 2

    subject.run(test())
