"""A caller who comes many times in one call is read and written once, and nothing else is different."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, groupby

import pytest
from redis import Redis

from ratelimit.stores.lua.scripts import FAILED, Script
from tests import servers
from tests.stores import by_key

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
DAY = 86_400_000
Rows = tuple[tuple[object, ...], ...]
_numbers = count()
pytestmark = pytest.mark.repeated


class Calls:
    """Of callers who are numbers, each with counters of its own; by a user that may be forbidden a command."""

    def __init__(self, server: servers.Server, root: Redis) -> None:
        self.root, self.prefix = root, f"repeats{next(_numbers)}"
        self.user = server.client(username=self.prefix, password="x")
        root.acl_setuser(self.prefix, enabled=True, nopass=True, keys=["*"], categories=["+@all"])
        self.script = by_key(Script.load("acquire"), f"{self.prefix}:clock").text

    def key(self, caller: int, c: int) -> str:
        return f"{self.prefix}:{caller}:{c}"

    def decide(self, now: int, rows: Rows, callers: list[int], number: str = "") -> list[object]:
        self.root.set(f"{self.prefix}:clock", now)
        keys = [self.key(caller, c) for caller in callers for c in range(len(rows))] + [f"{self.prefix}:marker"]
        tariff = [0, 2**53, "decide", len(rows), *[part for row in rows for part in row], 0]
        told = self.user.eval(self.script, len(keys), *keys, number, 1, *tariff, *[1] * len(callers))
        return list(told[1:])

    def stored(self, caller: int, rows: Rows) -> list[dict[bytes, bytes]]:
        return [self.root.hgetall(self.key(caller, c)) for c in range(len(rows))]

    def marked(self) -> bytes:
        return bytes(self.root.get(f"{self.prefix}:marker") or b"")


@pytest.fixture
def pair(server: servers.Server) -> Iterator[tuple[Calls, Calls]]:
    with server.client() as root:
        pair = Calls(server, root), Calls(server, root)
        yield pair
        for calls in pair:
            calls.user.close()
            root.acl_deluser(calls.prefix)


@pytest.mark.parametrize("seed", range(8))
def test_in_one_call_or_in_calls_of_their_own(pair: tuple[Calls, Calls], seed: int) -> None:
    """The same answers and counters: at the limit, across sub-windows and periods, when the clock goes back."""
    dice, now, (together, alone) = random.Random(seed), T, pair
    maxes = dice.randrange(1, 30), dice.randrange(1, 60)
    for _ in range(40):
        now += dice.choice([0, 0, 1, 90, 250, 1_000, 4_000, -150, -2_500])
        start = now - now % 5_000
        rows: Rows = (
            ("r", dice.choice([1, 1, 3]), maxes[0], 0, 1_000, 10),
            ("q", dice.choice([1, 1, 2]), maxes[1], dice.choice([0, 0, T + 20_000]), start, start + 5_000),
        )
        callers = [caller for caller in dice.choices(range(3), k=6) for _ in range(dice.choice([1, 2, 5, 9]))]
        assert together.decide(now, rows, callers) == [
            part for caller in callers for part in alone.decide(now, rows, [caller])
        ]
        for caller in set(callers):
            assert together.stored(caller, rows) == alone.stored(caller, rows)


RATE, QUOTA = ("r", 1, 100, 0, 60_000, 60), ("q", 1, 100, 0, T - DAY, T + DAY)


def test_it_is_written_once(pair: tuple[Calls, Calls]) -> None:
    """So that sixteen requests of one caller cost the server little more than one."""
    calls, _ = pair
    calls.decide(T, (RATE, QUOTA), [1])
    before = calls.root.info("commandstats")["cmdstat_hset"]["calls"]
    assert calls.decide(T, (RATE, QUOTA), [1] * 16)[-3:] == [1, 17, 17]
    assert calls.root.info("commandstats")["cmdstat_hset"]["calls"] - before == 2


def test_its_receipt(pair: tuple[Calls, Calls]) -> None:
    """Says of each request by itself that it was charged."""
    calls, _ = pair
    callers = [1, 1, 2, 2, 2]
    calls.decide(T, (RATE, QUOTA), callers, "0000000000000001")
    assert calls.marked() == b"0000000000000001 %d" % T
    calls.decide(T, ((*RATE[:2], 4, *RATE[3:]), QUOTA), callers, "0000000000000002")
    assert calls.marked() == b"0000000000000002 %d 0 2 4" % T


@pytest.mark.parametrize("command", ["HSET", "PEXPIRE"])
def test_a_write_that_fails(pair: tuple[Calls, Calls], command: str) -> None:
    """Fails for each of them, and nothing is charged; others are not concerned."""
    calls, _ = pair
    calls.decide(T, (RATE, QUOTA), [1])
    calls.root.set(calls.key(3, 1), "no counter")
    there = calls.stored(1, (RATE, QUOTA))
    calls.root.acl_setuser(calls.prefix, enabled=True, commands=[f"-{command.lower()}"])
    told = calls.decide(T + 2_000, (RATE, QUOTA), [1, 1, 1, 3, 3])
    assert told[::2] == [FAILED] * 5
    assert [len(list(same)) for _, same in groupby(told[1::2])] == [3, 2]
    assert calls.stored(1, (RATE, QUOTA)) == there
