"""Where a user may not call one of the commands, or it was renamed: nothing is charged by halves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

import pytest
from redis import Redis

from ratelimit.model import StoreUnavailable
from ratelimit.stores.fallback.doubt import InDoubt
from ratelimit.stores.fallback.idempotency import NEVER_KNOWN, NOT
from ratelimit.stores.lua.scripts import FAILED, NAMES, UNDECIDED, Script, refused, whole
from ratelimit.stores.redis import RedisStore
from tests import servers
from tests.stores import at, quota
from tests.stores.wires import ask, connected, fake_store, run, turns

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
DAY = 86_400_000
J = T // 1_000  # the sub-window of T, in a window of a minute in 60
RATE, QUOTA, CAP = ("r", 1, 10, 0, 60_000, 60), ("q", 1, 10, 0, T - DAY, T + DAY), ("c", 1, 10, 0, 60_000, 0)
ACQUIRE, SETTLE = Script.load("acquire"), Script.load("settle")
COMMANDS = sorted({name for script in NAMES for name in re.findall(r"(?:call|try)\('([A-Z]+)'", whole(script))})
WRITES = ["DEL", "HDEL", "HSET", "PEXPIRE", "ZADD", "ZREM", "ZREMRANGEBYSCORE"]
_numbers = count()


class Calls:
    """Calls by a user with all rights but one."""

    def __init__(self, server: servers.Server, root: Redis) -> None:
        self.root, self.prefix = root, f"rights{next(_numbers)}"
        self.user = server.client(username=self.prefix, password="x")
        self.root.acl_setuser(self.prefix, enabled=True, nopass=True, keys=["*"], categories=["+@all"])

    def forbid(self, *commands: str) -> None:
        self.root.acl_setuser(self.prefix, enabled=True, commands=[f"-{command.lower()}" for command in commands])

    def allow(self, *commands: str) -> None:
        self.root.acl_setuser(self.prefix, enabled=True, commands=[f"+{command.lower()}" for command in commands])

    def key(self, n: int) -> str:
        return f"{self.prefix}:{n}"

    def acquire(self, now: int, *charges: tuple[object, ...], text: str = "", marker: str = "") -> list[object]:
        """One caller's."""
        keys = [self.key(n) for n in range(len(charges))] + [marker] * bool(marker)
        rows = [part for charge in charges for part in charge]
        leases = [f"{next(_numbers)}/60000" for charge in charges if charge[0] == "c" and charge[1]]
        number = "0000000000000001" if marker else ""
        arguments = [number, 1, 0, 2**53, "decide", len(charges), *rows, 0, 1, *leases]
        return self.user.eval(text or at(ACQUIRE, now).text, len(keys), *keys, *arguments)[1:]

    def settle(self, now: int, *item: object) -> object:
        return self.user.eval(at(SETTLE, now).text, 1, self.key(0), "", *item)[1]

    def state(self, n: int = 0) -> dict[str, int]:
        """What is in a counter, without zeros."""
        key = self.key(n)
        kind = self.root.type(key)
        if kind == b"zset":
            return {member.decode(): int(score) for member, score in self.root.zrange(key, 0, -1, withscores=True)}
        return {field.decode(): int(value) for field, value in self.root.hgetall(key).items() if int(value)}


@pytest.fixture
def calls(server: servers.Server) -> Iterator[Calls]:
    with server.client() as root:
        calls = Calls(server, root)
        yield calls
        calls.user.close()
        root.acl_deluser(calls.prefix)


def used_of(calls: Calls, now: int, *charges: tuple[object, ...]) -> list[int]:
    """What the counters come to for who may do everything."""
    calls.allow(*WRITES)
    free = [(charge[0], 0, *charge[2:]) for charge in charges]
    told = calls.acquire(now, *free)
    assert told[0] == 2
    return [int(str(used)) for used in told[2::4]]


STATES = {
    "nothing there": [],
    "in this sub-window": [T],
    "in the one before": [T - 1_000],
    "some sub-windows ago": [T - 30_000, T - 20_000, T - 10_000],
    "over counts that have left": [T - 66_000, T - 30_000],
    "all void": [T - 600_000],
    "of the period before": [T - DAY - 5],
}


@pytest.mark.parametrize("command", WRITES)
@pytest.mark.parametrize("before", STATES.values(), ids=STATES)
@pytest.mark.parametrize(
    "order",
    [(RATE, QUOTA, CAP), *[pytest.param(o, marks=pytest.mark.proof) for o in ((CAP, QUOTA, RATE), (QUOTA, RATE))]],
    ids=["rqc", "cqr", "qr"],
)
def test_a_command_that_is_forbidden(
    calls: Calls, command: str, before: list[int], order: tuple[tuple[object, ...], ...]
) -> None:
    """Either all limits are charged, or the answer is that none was, and none is: whichever write failed."""
    earlier = [("q", 1, 10, 0, now - DAY, now + DAY) if now < T - DAY else QUOTA for now in before]
    for now, period in zip(before, earlier, strict=True):
        assert calls.acquire(now, *[period if charge is QUOTA else charge for charge in order])[0] == 1
    there = used_of(calls, T, *order)
    calls.forbid(command)
    verdict, *told = calls.acquire(T, *order)
    if verdict == 1:
        assert used_of(calls, T, *order) == [used + 1 for used in there] == told
    else:
        assert (verdict, len(told)) == (FAILED, 1)
        assert used_of(calls, T, *order) == there
    # What is counted after it is what it would have been, here and when the ring has moved on.
    for later in (T, T + 3_000, T + 31_000, T + 45_000):
        before_it = used_of(calls, later, *order)
        assert calls.acquire(later, *order)[0] == 1
        assert used_of(calls, later, *order) == [used + 1 for used in before_it]


@pytest.mark.parametrize("command", ["DEL", "HDEL", "HSET", "PEXPIRE", "ZADD"])
def test_a_refused_request_leaves_no_key_for_ever(calls: Calls, command: str) -> None:
    """What was begun is gone again, or it expires."""
    calls.forbid(command)
    for _ in range(3):
        calls.acquire(T, RATE, QUOTA, CAP)
    for n in range(3):
        assert calls.root.pttl(calls.key(n)) != -1


def test_where_neither_an_expiry_nor_its_undoing_is_allowed(calls: Calls) -> None:
    """A ring that is left behind is void, and a quota's count 0: neither is charged again without an expiry."""
    calls.forbid("PEXPIRE", "DEL")
    for _ in range(3):
        assert calls.acquire(T, RATE)[0] == FAILED
        assert calls.acquire(T + 70_000, RATE)[0] == FAILED
    assert calls.state() == {}
    assert used_of(calls, T, RATE) == [0]
    calls.forbid("PEXPIRE", "DEL")
    calls.root.delete(calls.key(0))
    for _ in range(3):
        assert calls.acquire(T, QUOTA)[0] == FAILED
    assert calls.state() == {"t": T}


def test_what_can_not_be_taken_back(calls: Calls) -> None:
    """Where even that fails it is told as in doubt, and counts as charged: also in the marker."""
    marker = calls.key(9)
    text = at(ACQUIRE, T).text.replace("  call('ZREM', key, seen.charged)", "  error('refused')")
    assert text != at(ACQUIRE, T).text
    calls.root.set(calls.key(1), "text")
    view = "local function quota_view(key, row, seen, now, writes)\n"
    late = text.replace(view, f"{view} do seen.used, seen.charged_at, seen.kept_until = 0, -1, 0 return end\n")
    verdict, why = calls.acquire(T, CAP, QUOTA, text=late, marker=marker)
    assert (verdict, str(why)[2:11]) == (UNDECIDED, "WRONGTYPE")
    assert list(calls.state().values()) == [T + 60_000]
    assert calls.root.get(marker) == b"0000000000000001 %d" % T


@pytest.mark.parametrize("command", ["DEL", "HDEL", "HSET", "PEXPIRE"])
@pytest.mark.parametrize("before", STATES.values(), ids=STATES)
def test_what_is_owed(calls: Calls, command: str, before: list[int]) -> None:
    """An item is charged, or told as still owed and not charged; in no case is it both."""
    for now in before:
        calls.acquire(now, RATE)
    (there,) = used_of(calls, T, RATE)
    calls.forbid(command)
    outcome = calls.settle(T, "r", 3, 60_000, 60, J)
    assert used_of(calls, T, RATE) == [there + 3 * (outcome == 1)]
    calls.root.delete(calls.key(0))
    calls.forbid(command)
    outcome = calls.settle(T, "q", 3, T - DAY, T + DAY, 0)
    assert used_of(calls, T, QUOTA) == [3 * (outcome == 1)]


def test_what_is_owed_and_can_not_be_taken_back(calls: Calls) -> None:
    """It counts as charged: an item that is told as owed would be charged again."""
    calls.forbid("PEXPIRE", "DEL")
    text = at(SETTLE, T).text.replace("call('HSET', key, 'h', 0,", "call('NONE', key, 'h', 0,")
    assert calls.user.eval(text, 1, calls.key(0), "", "r", 3, 60_000, 60, J)[1] == 1
    assert used_of(calls, T, RATE) == [3]


def test_no_memory(server: servers.Server, calls: Calls) -> None:
    """A server refuses the first write of a script, or none: each caller is charged as a whole, or not at all."""
    with servers.run(server.name) as own, own.client() as root:
        there = Calls(own, root)
        for now in (T - 30_000, T):
            there.acquire(now - 600_000, RATE, QUOTA, CAP)
            root.config_set("maxmemory", 1)
            verdict, *_ = there.acquire(now, RATE, QUOTA, CAP)
            root.config_set("maxmemory", 0)
            used = used_of(there, now, RATE, QUOTA)
            assert (verdict, used) in [(1, [1, used[1]]), (FAILED, [0, used[1]])]


@pytest.mark.parametrize(
    ("fields", "charge"),
    [
        ({"h": "x", "s": 5}, RATE),
        ({"h": J, "s": "x"}, RATE),
        ({"h": J}, RATE),
        ({"h": J - 3}, RATE),
        ({"h": J, "s": "-5"}, RATE),
        ({"h": J, "s": "1e300"}, RATE),
        ({"h": J - 3, "s": "nan"}, RATE),
        ({"h": "nan", "s": 5}, RATE),
        ({"h": J + 900}, RATE),
        ({"n": "x", "t": T}, QUOTA),
        ({"n": "-1", "t": T}, QUOTA),
        ({"n": "1e300", "t": T}, QUOTA),
        ({"n": 1, "t": "x"}, QUOTA),
        ({"n": 1, "t": T, "e": "x"}, QUOTA),
    ],
)
def test_what_is_no_whole_number(calls: Calls, fields: dict[str, object], charge: tuple[object, ...]) -> None:
    """Is told of this caller alone, as a key of another type is; nothing is written, nothing in the reply is odd."""
    calls.root.hset(calls.key(0), mapping=fields)
    there = calls.root.hgetall(calls.key(0))
    verdict, why = calls.acquire(T, charge, CAP)
    assert (verdict, str(why)[2:11]) == (FAILED, "WRONGTYPE")
    assert calls.root.hgetall(calls.key(0)) == there
    assert not calls.root.exists(calls.key(1))
    item = ("r", 1, 60_000, 60, J) if charge is RATE else ("q", 1, T - DAY, T + DAY, 0)
    told = calls.settle(T, *item)
    assert str(told)[2:11] == "WRONGTYPE" or told == 1
    back = calls.settle(T, item[0], -1, *item[2:])
    assert str(back)[2:11] == "WRONGTYPE" or told == 1 or "e" in fields


def test_a_count_of_the_ring_that_is_no_number(calls: Calls) -> None:
    """Is nobody's to write over."""
    calls.root.hset(calls.key(0), mapping={"h": J, "s": 5, str(J % 61): "x"})
    verdict, why = calls.acquire(T, RATE)
    assert (verdict, str(why)[2:11]) == (FAILED, "WRONGTYPE")


def test_nothing_is_deleted_where_nothing_has_left(calls: Calls) -> None:
    """A command less for who comes now and then; of who comes always, what has left is deleted."""
    calls.forbid("HDEL")
    for used, now in enumerate((T - 66_000, T - 30_000), 1):
        assert calls.acquire(now, RATE) == [1, used]
    assert calls.acquire(T, RATE)[0] == FAILED
    calls.allow("HDEL")
    assert calls.acquire(T, RATE) == [1, 2]
    assert set(calls.state()) == {"h", "s", str((J - 30) % 61), str(J % 61)}


def test_a_repair_that_is_not_allowed(calls: Calls) -> None:
    """After a clock that was far ahead: the counts stay as they were, to the unit."""
    for command in ("DEL", "HSET", "PEXPIRE"):
        calls.root.delete(calls.key(0))
        calls.acquire(T + 900_000, RATE)
        calls.forbid(command)
        assert calls.acquire(T, RATE)[0] == FAILED
        assert used_of(calls, T, RATE) == [1]


def test_a_call_that_makes_no_sense(calls: Calls) -> None:
    """Is over at once, and takes nothing back of those that came before: a tariff that is not there, a number that is
    none."""
    key = calls.key(0)
    tariff = ["", 1, 0, 2**53, "decide", 1, *RATE, 0]
    for nonsense in ([7], ["x"], [1]):
        told = calls.user.eval(at(ACQUIRE, T).text, 1, key, *tariff, 1, *nonsense)
        assert told[1] == 1
        assert told[3] == FAILED
    assert used_of(calls, T, RATE) == [3]


@pytest.mark.parametrize("command", ["nothing", *COMMANDS])
def test_a_trial(calls: Calls, command: str) -> None:
    """Says which command of the scripts the user may not call, or was renamed, and leaves nothing behind."""
    if command != "nothing":
        calls.forbid(command)
    scripts = RedisStore("redis://h").scripts
    request = scripts.trying(f"{calls.prefix}:")
    parts = re.findall(rb"\$\d+\r\n(.*?)\r\n(?=\$|\Z)", request, re.DOTALL)
    told = refused(calls.user.execute_command(*parts))
    assert set(told) == {command} - {"nothing"}
    left = calls.root.keys(f"{calls.prefix}:*")
    assert all(0 < calls.root.pttl(key) <= 1_000 for key in left)
    assert command == "DEL" or not left


@pytest.mark.parametrize("reply", [b"OK", 5, [b"a"], [b"a", 5], None])
def test_no_reply_to_a_trial(reply: object) -> None:
    """What is no list of names and errors is an error of the store."""
    with pytest.raises(StoreUnavailable):
        refused(reply)


@pytest.mark.parametrize("verdict", [FAILED, UNDECIDED])
@pytest.mark.parametrize("account", [True, False])
def test_who_is_told_of_half_a_charge(monkeypatch: pytest.MonkeyPatch, verdict: int, *, account: bool) -> None:
    """What may have been charged is in doubt, and counts as charged; of anything else it is known that nothing was."""
    store = fake_store(monkeypatch)
    if account:
        store.keep_account()

    async def test() -> None:
        wire = await connected(store)
        asking = ask(store, quota(9, key="mine"))
        await turns()
        wire.reply([T, verdict, b"NOPERM no"])
        with pytest.raises(StoreUnavailable, match="NOPERM") as caught:
            await asking
        doubt = caught.value.doubt if isinstance(caught.value, InDoubt) else None
        assert (doubt.charged_at if doubt else NOT) == (NEVER_KNOWN if account and verdict == UNDECIDED else NOT)

    run(store, test())
