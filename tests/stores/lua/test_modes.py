"""One script, five modes: what is peeked at, counted and held, against counters and holds in plain Python."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from redis import Redis

from ratelimit.stores.counting.holds import known_ms
from ratelimit.stores.lua.scripts import Script
from tests import servers
from tests.stores import by_key

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
DAY = 86_400_000
LARGEST = 2**53 - 1
ALLOWED, DENIED = 2, 0
_numbers = count()
pytestmark = pytest.mark.repeated


@dataclass
class Row:
    """A limit: the letter of its kind, window and sub-windows or start and end of a period."""

    letter: str
    max: int
    first: int
    second: int
    cost: int = 1
    shadow_until: int = 0
    later: tuple[tuple[int, int], ...] = ()

    @property
    def holds(self) -> bool:
        return self.letter.isupper()


RATE, QUOTA = Row("R", 100, 60_000, 60), Row("Q", 100, T - 40_000_000, T + 40_000_000)


class Server:
    """Script calls at any instant, by one caller with counters of its own."""

    def __init__(self, client: Redis, *rows: Row) -> None:
        self.client, self.rows, self.prefix = client, rows, f"modes{next(_numbers)}"
        self.clock = f"clock:{self.prefix}"
        names = ("acquire", "settle", "renew")
        self.texts = {name: by_key(Script.load(name), self.clock).text for name in names}

    def call(self, name: str, now: int, keys: list[str], *arguments: object) -> list[Any]:
        self.client.set(self.clock, now)
        told: list[Any] = self.client.eval(self.texts[name], len(keys), *keys, *arguments)
        return told

    def key(self, n: int) -> str:
        return f"{self.prefix}:{n}"

    def record(self, n: int) -> str:
        return f"{self.key(n)}:held"

    def ask(self, now: int, mode: str, *caller: object, rows: tuple[Row, ...] = ()) -> list[Any]:
        rows = rows or self.rows
        keys = [key for n, row in enumerate(rows) for key in [self.key(n), self.record(n)][: 1 + row.holds]]
        charges = [part for r in rows for part in (r.letter, r.cost, r.max, r.shadow_until, r.first, r.second)]
        later = [(c, *step) for c, row in enumerate(rows, 1) for step in row.later]
        arguments = ["", 1, 0, LARGEST, mode, len(rows), *charges, len(later), *[p for s in later for p in s]]
        told = self.call("acquire", now, keys, *arguments, 1, *caller)
        assert told[0] == now
        if told[1] == 1:  # all were charged now
            return [ALLOWED, *told[2:]]
        assert told[1] in {ALLOWED, DENIED, -2}
        return [told[1], *told[3::4]] if told[1] != -2 else told[1:]

    def full(self, now: int, mode: str, *caller: object, rows: tuple[Row, ...] = ()) -> list[list[int]]:
        """Exceeded, used, reset_after and the last number, charge by charge."""
        free = Row("r", 1, 1_000, 1, cost=0)  # so that all is told
        rows = (*(rows or self.rows), free)
        keys = [key for n, row in enumerate(rows) for key in [self.key(n), self.record(n)][: 1 + row.holds]]
        charges = [part for r in rows for part in (r.letter, r.cost, r.max, r.shadow_until, r.first, r.second)]
        later = [(c, *step) for c, row in enumerate(rows, 1) for step in row.later]
        arguments = ["", 1, 0, LARGEST, mode, len(rows), *charges, len(later), *[p for s in later for p in s]]
        told = self.call("acquire", now, keys, *arguments, 1, *caller)
        assert told[1] in {ALLOWED, DENIED}
        return [told[a : a + 4] for a in range(2, len(told) - 4, 4)]

    def hold(self, now: int, units: int, lease: int = 5_000) -> tuple[str, list[Any]]:
        hold_id = f"{next(_numbers):032x}/{lease}@ab"
        return hold_id, self.ask(now, "hold", units, hold_id)

    def settle(self, now: int, hold_id: str, used: int) -> list[Any]:
        keys = [key for n in range(len(self.rows)) for key in (self.key(n), self.record(n))]
        items = [part for r in self.rows for part in (r.letter, used * r.cost, r.first, r.second, hold_id)]
        return self.call("settle", now, keys, "", *items)[1:]

    def renew(self, now: int, hold_id: str, lease: int = 5_000) -> list[int]:
        keys = [self.record(n) for n in range(len(self.rows))]
        leases = [part for _ in keys for part in (hold_id, lease, "")]
        return self.call("renew", now, keys, *leases)

    def used(self, now: int) -> list[int]:
        return self.ask(now, "peek", 0)[1:]

    def everything(self) -> dict[bytes, tuple[bytes, int]]:
        """Each key of this caller: its bytes, and when it expires."""
        keys = self.client.keys(f"{self.prefix}:*")
        return {key: (self.client.dump(key), self.client.execute_command("PEXPIRETIME", key)) for key in keys}


@pytest.fixture
def client(server: servers.Server) -> Iterator[Redis]:
    with server.client() as client:
        yield client


@dataclass
class Oracle:
    """One counter, and what is held of it, unit by unit: `log` has units by the instant at which they count."""

    row: Row
    log: Counter[int] = field(default_factory=Counter)
    held: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # units, counted at, ends
    settled: dict[str, int] = field(default_factory=dict)

    def reap(self, now: int) -> None:
        for hold_id, (units, counted_at, ends) in list(self.held.items()):
            if ends <= now:
                self.log[counted_at] -= units
                del self.held[hold_id]

    def used(self, now: int) -> int:
        first, second = self.row.first, self.row.second
        if self.row.letter in "Qq":
            return sum(units for then, units in self.log.items() if first <= then < second)
        current = now * second // first
        return sum(units for then, units in self.log.items() if current - second <= then * second // first <= current)

    def settle(self, hold_id: str, used: int, now: int, lease: int) -> None:
        if self.settled.get(hold_id, 0) > now:
            return
        self.settled[hold_id] = now + known_ms(lease)
        units, counted_at, _ = self.held.pop(hold_id, (0, 0, 0))
        if used < units:
            self.log[counted_at] -= units - used
        self.log[now] += max(0, used - units)


GEOMETRIES = [
    (RATE, QUOTA),
    (QUOTA, RATE),
    (Row("R", 40, 1_000, 7, cost=3), Row("R", 90, 10_000, 10)),
    (Row("Q", 60, T - DAY, T + 10 * DAY, cost=2),),
]


def asked(server: Server, oracles: list[Oracle], now: int, what: str, units: int) -> dict[str, int]:
    """One call, which says what the log says. Returns the hold, if one came of it."""
    before = server.everything() if what == "peek" else {}
    seen = [Oracle(o.row, o.log.copy(), dict(o.held)) for o in oracles] if what == "peek" else oracles
    for oracle in seen:
        oracle.reap(now)
    allowed = what == "charge" or all(o.used(now) <= o.row.max - units * o.row.cost for o in seen)
    for oracle in seen:
        oracle.log[now] += units * oracle.row.cost * allowed
    hold_id, told = server.hold(now, units) if what == "hold" else ("", [])
    told = told or server.ask(now, what, *[units] * (what != "decide"))
    assert told == [ALLOWED if allowed else DENIED, *[oracle.used(now) for oracle in seen]]
    assert what != "peek" or server.everything() == before
    if not (allowed and hold_id):
        return {}
    for oracle in oracles:
        oracle.held[hold_id] = (units * oracle.row.cost, now, now + 5_000)
    return {hold_id: units}


@pytest.mark.parametrize("rows", GEOMETRIES)
@pytest.mark.parametrize("seed", [0, 1, *[pytest.param(seed, marks=pytest.mark.proof) for seed in range(2, 6)]])
def test_holds_agree_with_a_log(client: Redis, rows: tuple[Row, ...], seed: int) -> None:
    """Held, renewed, settled for fewer, as many or more, twice, late, or never: each unit counts where it was taken,
    and goes back once; no window is above its max but by what was counted above it."""
    dice = random.Random(seed)
    server, oracles = Server(client, *rows), [Oracle(row) for row in rows]
    now, holds = T, dict[str, int]()
    for _ in range(300):
        now += dice.choice([0, 0, 1, 40, 300, 900, 2_000, 6_000, dice.choice([100, 70_000])])
        what = dice.choice(["hold", "hold", "hold", "decide", "peek", "charge", "settle", "settle", "renew"])
        hold_id = dice.choice([*holds, ""])
        if what == "settle" and hold_id:
            held = holds[hold_id]
            used = dice.choice([0, held, held + dice.randint(1, 9), dice.randint(0, held)])
            assert server.settle(now, hold_id, used) == [1] * len(rows)
            for oracle in oracles:
                oracle.settle(hold_id, used * oracle.row.cost, now, 5_000)
        elif what == "renew" and hold_id:
            assert server.renew(now, hold_id) == [hold_id in oracle.held for oracle in oracles]
            for oracle in oracles:
                if hold_id in oracle.held:
                    oracle.held[hold_id] = (*oracle.held[hold_id][:2], now + 5_000)
        elif what not in {"settle", "renew"}:
            holds |= asked(server, oracles, now, what, 1 if what == "decide" else dice.randint(1, 12))
    assert holds


@pytest.mark.parametrize("rows", GEOMETRIES[:3])
def test_a_peek_says_what_acquire_would(client: Redis, rows: tuple[Row, ...]) -> None:
    """With holds that ended, denied or not, after a clock that was far ahead: to the last number. It writes nothing."""
    dice = random.Random(5)
    server, now = Server(client, *rows), T
    for _ in range(150):
        now = max(T - 30_000_000, now + dice.choice([0, 7, 800, 4_000, 6_000, -300, -80_000]))
        if dice.random() < 0.6:
            server.hold(now, dice.randint(1, 30))
        before = server.everything()
        peeked = server.full(now, "peek", 1)
        assert server.everything() == before
        assert server.full(now, "decide") == peeked


def test_units(client: Redis) -> None:
    """They multiply each cost; a cost of 0, or 0 units, is never exceeded; a charge never denies, and is bounded."""
    free = Row("r", 0, 60_000, 60, cost=0)
    server = Server(client, Row("r", 10, 60_000, 60, cost=3), free)
    assert server.full(T, "peek", 3) == [[0, 9, 61_000, 0], [0, 0, 0, 0]]
    assert server.full(T, "peek", 4)[0][:2] == [1, 0]
    assert server.everything() == {}
    assert server.full(T, "charge", 5) == [[0, 15, 61_000, 0], [0, 0, 0, 0]]
    assert server.full(T, "charge", 0) == [[0, 15, 61_000, 0], [0, 0, 0, 0]]
    assert server.full(T, "decide")[0] == [1, 15, 61_000, 61_000]
    assert server.full(T, "charge", LARGEST // 3)[0][:2] == [0, LARGEST]
    assert server.full(T, "charge", 1)[0][:2] == [0, LARGEST]
    full = Server(client, Row("q", 5, T - 1, T + DAY, cost=LARGEST))
    assert full.ask(T, "charge", 1) == full.ask(T, "charge", 1) == [ALLOWED, LARGEST]


def test_what_is_held_in_shadow(client: Redis) -> None:
    """A limit in shadow that is exceeded is not charged, so nothing of it is held; a charge counts in it as well."""
    server = Server(client, RATE, Row("R", 3, 60_000, 60, shadow_until=LARGEST))
    hold_id, told = server.hold(T, 5)
    assert told == [ALLOWED, 5, 0]
    assert not client.exists(server.record(1))
    assert server.ask(T, "charge", 5) == [ALLOWED, 10, 5]
    assert hold_id


def test_a_settle_late_by_any_time(client: Redis) -> None:
    """Before anybody came by it is as in time; after that all that was used is charged; twice is once, for four leases
    and an hour."""
    server = Server(client, RATE, QUOTA)
    first, _ = server.hold(T, 10)
    assert server.settle(T + 7_000, first, 4) == [1, 1]
    assert server.used(T + 7_000) == [4, 4]
    second, _ = server.hold(T + 7_000, 10)
    assert server.ask(T + 13_000, "decide") == [ALLOWED, 5, 5]  # it gives the ten back
    for _ in range(3):
        assert server.settle(T + 13_000 + 3 * 5_000, second, 6) == [1, 1]
        assert server.used(T + 28_000) == [11, 11]
    late = T + 7_000 + known_ms(5_000) - 1
    assert server.settle(late, first, 9) == [1, 1]
    assert server.used(late) == [0, 11]
    assert client.zcard(server.record(1)) == 2
    assert all(0 < client.pttl(server.record(n)) <= 50_000_000 for n in range(2))
    server.ask(T + 28_000 + known_ms(5_000), "decide", rows=(RATE, Row("Q", 100, T, T + 2 * DAY)))
    assert client.zcard(server.record(1)) == 0
    for n in range(2):
        assert client.pttl(server.record(n)) == -2


def test_on_a_server_that_was_flushed(client: Redis) -> None:
    """What was used is charged once; what is refunded there leaves nothing behind."""
    server = Server(client, RATE, QUOTA)
    hold_id, _ = server.hold(T, 10)
    client.delete(*server.everything())
    back = [part for r in server.rows for part in (r.letter.lower(), -5, r.first, r.second, T * r.second // r.first)]
    assert server.call("settle", T, [server.key(0), server.key(1)], "", *back[:9], 0) == [T, 1, 1]
    assert server.everything() == {}
    for _ in range(2):
        assert server.settle(T, hold_id, 7) == [1, 1]
    assert server.used(T) == [7, 7]
    assert server.renew(T, hold_id) == [0, 0]


def test_many_that_ended(client: Redis) -> None:
    """One call gives back 128 at most, and the next ones the rest: nobody waits for ten thousand."""
    server = Server(client, Row("R", 1_000, 60_000, 60))
    for _ in range(300):
        server.hold(T, 1)
    assert [server.ask(T + 6_000, "charge", 0)[1] for _ in range(4)] == [172, 44, 0, 0]


def test_a_period_that_is_over(client: Redis) -> None:
    """A quota of another period is asked about again, with that of the store's clock; what was held of it is gone."""
    server = Server(client, QUOTA)
    hold_id, _ = server.hold(T, 10)
    assert server.settle(QUOTA.second, hold_id, 12) == server.settle(QUOTA.first - 1, hold_id, 12) == [2]
    server.rows = (Row("Q", 100, QUOTA.second, QUOTA.second + DAY),)
    assert server.settle(QUOTA.second, hold_id, 12) == [1]
    assert server.used(QUOTA.second) == [2]


def test_a_clock_that_goes_back(client: Redis) -> None:
    """A little: it counts in the newest sub-window, is told, and goes back there. By a window: nothing goes back."""
    server = Server(client, RATE)
    server.ask(T, "decide")
    hold_id = f"{'7' * 32}/5000@ab"
    assert server.full(T - 3_000, "hold", 6, hold_id) == [[0, 7, 64_000, 3_000]]
    server.ask(T + 1_000, "decide")
    server.settle(T + 1_500, hold_id, 0)
    assert client.hgetall(server.key(0))[str(T // 1_000 % 61).encode()] == b"1"
    server.hold(T, 9)
    assert server.ask(T - 900_000, "decide")[1] == 12
    assert server.ask(T - 880_000, "decide")[1] == 13
    assert client.zrange(server.record(0), 0, "+inf", byscore=True, withscores=True)[-1][1] > T  # one that was settled
    assert not [member for member in client.zrange(server.record(0), 0, -1) if member[:1] in b"huc"]


@pytest.mark.parametrize("command", ["HSET", "ZADD", "ZREM", "PEXPIRE", "DEL", "HDEL", "ZMSCORE", "PTTL"])
@pytest.mark.parametrize("before", [[], [T - 1_000], [T - 30_000, T - 9_000]])
def test_a_command_that_is_forbidden(client: Redis, server: servers.Server, command: str, before: list[int]) -> None:
    """A hold is all there or not at all, and what ended or is settled goes back once, also where that failed first."""
    there = Server(client, RATE, QUOTA)
    for now in before:
        there.ask(now, "decide")
    counted = len(before)
    user = there.prefix
    client.acl_setuser(
        user, enabled=True, nopass=True, keys=["*"], categories=["+@all"], commands=[f"-{command.lower()}"]
    )
    with server.client(username=user, password="x") as theirs:
        limited = Server(theirs, RATE, QUOTA)
        limited.prefix = there.prefix
        told = limited.hold(T, 10)[1]
        held = 10 * (told[0] == ALLOWED)
        assert told[0] in {ALLOWED, -2}
        assert there.used(T) == [counted + held] * 2
        other, _ = there.hold(T, 20)
        outcomes = limited.settle(T, other, 5)
        assert there.used(T) == [counted + held + (5 if outcome == 1 else 20) for outcome in outcomes]
        limited.ask(T + 6_000, "decide")
        told = there.used(T + 6_000)
        assert there.ask(T + 6_000, "decide")[1:] == [used + 1 for used in told]
    client.acl_deluser(user)
    assert there.settle(T + 6_000, other, 5) == [1, 1]
    after = there.used(T + 6_000)
    assert after in ([counted + 6] * 2, [counted + 7] * 2)


def test_a_record_that_is_something_else(client: Redis) -> None:
    """Is told of this caller alone, before anything is written."""
    server = Server(client, RATE, QUOTA)
    client.set(server.record(1), "text")
    before = server.everything()
    for mode in ("decide", "peek", "charge", "hold"):
        told = server.ask(T, mode, *[1] * (mode != "decide"), *["7/5000@ab"] * (mode == "hold"))
        assert (told[0], told[1][:9]) == (-2, b"WRONGTYPE")
    assert server.everything() == before
    assert [str(told)[2:11] for told in server.settle(T, "7/5000@ab", 5)] == ["1"[2:11], "WRONGTYPE"]


def test_a_wait_is_true_for_limits_to_come(client: Redis) -> None:
    """Where a max falls or a shadow ends while a caller waits, it waits until all of them admit."""
    soon = Row("r", 5, 60_000, 60, shadow_until=T + 30_000)
    server = Server(client, Row("r", 5, 10_000, 10), soon)
    for _ in range(5):
        server.ask(T, "decide")
    told = server.full(T, "decide")
    assert told[0][::3] == [1, 11_000]  # by then the other is in shadow still
    longer = Server(client, Row("r", 5, 40_000, 4), soon)
    for _ in range(5):
        longer.ask(T, "decide")
    assert longer.full(T, "decide")[0][::3] == [1, 61_000]  # and not by then
    falls = Row("r", 5, 10_000, 10, later=((T + 8_000, 0), (T + 50_000, 9)))
    other = Server(client, falls)
    for _ in range(5):
        other.ask(T, "decide")
    assert other.full(T, "decide")[0][3] == 50_000
    never = Row("r", 5, 10_000, 10, later=((T + 8_000, 0),))
    assert other.full(T, "decide", rows=(never,))[0][3] == -1
