"""The contract of the verbs that count units, as timelines: peek, charge, refund, hold, settle, renew and reset."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ratelimit.model import FOREVER, Charge, Decision, Hold
from ratelimit.stores.counting.holds import known_ms
from tests.stores import COUNT_UNITS, Subject, concurrency, quota, rate
from tests.stores.conftest import subject_of

T = 1_773_136_800_000  # 2026-03-10T10:00:00Z; a minute's limit has sub-windows of one second from there
MIDNIGHT = 50_400_000  # after T
DAY = 86_400_000
LEASE = 10_000
KNOWN = known_ms(LEASE)  # 4 leases and an hour


@pytest.fixture(params=COUNT_UNITS)
def units(request: pytest.FixtureRequest) -> Subject:
    """A store that has these verbs."""
    return subject_of(request.param, request)


def tokens(maximum: int = 10, **rest: Any) -> Charge:
    return rate(maximum, 60_000, key="tokens", hold=True, **rest)


def monthly(maximum: int = 10, period: str = "month", **rest: Any) -> Charge:
    return quota(maximum, period, key="monthly", hold=True, **rest)


# ms after T, a verb and the name of what it gives or takes, units, what it answers, what is used then. The answer is
# whether it is allowed, of a renewal whether it was there.
Row = tuple[int, str, int | None, bool | None, int]


async def play(subject: Subject, charge: Charge, rows: Sequence[Row]) -> None:
    store, given = subject.store, {}
    for after, what, count, expected, used in rows:
        subject.at(T + after)
        verb, _, name = what.partition(" ")
        answer: bool | None = None
        if verb in ("acquire", "peek", "charge", "hold"):
            asked = {"peek": [count], "charge": [count], "hold": [count, LEASE]}.get(verb, [])
            given[name] = decision = await getattr(store, verb)([charge], *asked)
            assert decision.now_ms == T + after
            answer = decision.allowed
        elif verb == "settle":
            await store.settle(given[name].hold, count)
        elif verb == "refund":
            await store.refund(given[name], count)
        elif verb == "renew":
            answer = await store.renew([given[name].hold.lease]) == []
        else:
            answer = bool(await store.reset([charge.key]))
        now = await store.peek([charge], 0)
        assert (answer, now.states[0].used) == (expected, used), (after, what)
        assert now.allowed


SETTLED: list[Row] = [
    (0, "hold a", 6, True, 6),
    (500, "hold b", 5, False, 6),  # there is room for four
    (500, "hold b", 4, True, 10),
    (600, "acquire", None, False, 10),
    (700, "settle a", 2, None, 6),  # fewer than were held
    (700, "settle a", 6, None, 6),  # twice: the first one counts
    (800, "hold c", 1, True, 7),
    (900, "settle c", 1, None, 7),  # as many
    (1_500, "settle b", 9, None, 12),  # more: five of them now, also above the max
    (1_500, "settle b", 0, None, 12),
    (1_600, "acquire", None, False, 12),
    (60_999, "peek", 1, False, 12),
    (61_000, "peek", 5, True, 5),  # what was held at 10:00:00 has left; what it took more was counted a second later
    (62_000, "peek", 10, True, 0),
]
# The rest of a hold goes back into its own second, and what stays leaves with that.
COUNTED_WHERE: list[Row] = [
    (0, "hold a", 6, True, 6),
    (5_000, "charge", 2, True, 8),
    (5_000, "settle a", 1, None, 3),
    (60_999, "peek", 8, False, 3),
    (61_000, "peek", 8, True, 2),
    (61_000, "settle a", 0, None, 2),
]
AFTER_THE_WINDOW: list[Row] = [
    (0, "hold a", 6, True, 6),
    (5_000, "renew a", None, True, 6),
    (14_999, "renew a", None, True, 6),
    (24_000, "renew a", None, True, 6),
    (33_000, "renew a", None, True, 6),
    (42_000, "renew a", None, True, 6),
    (51_000, "renew a", None, True, 6),
    (60_000, "renew a", None, True, 6),
    (61_000, "charge", 3, True, 3),  # the held units have left the window while their work goes on
    (62_000, "settle a", 1, None, 3),  # nothing goes back to it: it would be somebody else's
    (63_000, "hold b", 6, True, 9),
    (63_000, "settle b", 8, None, 11),
]
EXPIRED: list[Row] = [
    (0, "hold a", 6, True, 6),
    (1_000, "hold b", 4, True, 10),
    (9_999, "acquire", None, False, 10),
    (10_000, "acquire", None, True, 5),  # a went back first
    (10_000, "renew a", None, False, 5),  # and is not taken again
    (10_500, "settle a", 3, None, 8),  # after all: charged now
    (10_500, "settle a", 3, None, 8),
    (11_000, "acquire", None, True, 5),  # b went back too, once
    (11_000, "acquire", None, True, 6),
    (61_000, "peek", 1, True, 6),  # nothing was left at 10:00:00
    (71_000, "peek", 1, True, 2),
]
EXPIRED_AND_NOBODY_CAME: list[Row] = [
    (0, "hold a", 6, True, 6),
    (0, "hold b", 2, True, 8),
    (9_999, "peek", 2, True, 8),
    (10_000, "peek", 10, True, 0),  # as acquire would find it, and nothing is written:
    (10_000, "renew a", None, True, 6),  # ... a is held again, b is not
    (19_999, "peek", 5, False, 6),
    (30_000, "settle a", 5, None, 5),  # behind its lease: counted where it was held, as nobody gave it back
    (61_000, "peek", 10, True, 0),
]
A_DENIAL_GIVES_BACK: list[Row] = [
    (0, "hold a", 6, True, 6),
    (10_000, "hold b", 11, False, 0),  # above the max: denied, and what has expired went back
    (10_000, "renew a", None, False, 0),
    (10_000, "charge", 11, True, 11),
    (10_000, "settle a", 0, None, 11),
]
FORGOTTEN: list[Row] = [
    (0, "reset", None, False, 0),
    (0, "hold a", 6, True, 6),
    (0, "hold b", 4, True, 10),
    (0, "settle b", 4, None, 10),
    (1_000, "reset", None, True, 0),
    (1_000, "reset", None, False, 0),
    (1_000, "renew a", None, False, 0),
    (2_000, "settle a", 2, None, 2),  # as on a server that was flushed: charged now
    (2_000, "settle a", 2, None, 2),
    (3_000, "acquire", None, True, 3),
    (63_000, "peek", 1, True, 1),
]
REFUNDED: list[Row] = [
    (0, "acquire a", None, True, 1),
    (0, "charge b", 6, True, 7),
    (1_000, "charge c", 2, True, 9),
    (1_500, "refund b", 2, None, 7),
    (1_500, "refund b", 0, None, 7),
    (1_500, "refund b", None, None, 3),  # the rest of it
    (1_500, "refund b", None, None, 3),  # no more than it took
    (1_500, "refund b", 9, None, 3),
    (1_500, "refund a", 3, None, 2),
    (2_000, "charge e", 9, True, 11),
    (2_000, "acquire d", None, False, 11),
    (2_000, "refund d", None, None, 11),  # a denial took nothing
    (2_000, "peek f", 1, False, 11),
    (2_000, "refund f", None, None, 11),
    (61_000, "refund c", None, None, 9),
    (63_000, "charge g", 4, True, 4),  # e has left the window
    (63_000, "refund e", None, None, 4),
    (64_000, "refund g", 1, None, 3),
]
THE_OLDEST: list[Row] = [
    (0, "charge a", 2, True, 2),
    (60_000, "charge", 1, True, 3),
    (60_999, "refund a", 1, None, 2),  # it leaves in a millisecond
    (61_000, "refund a", 1, None, 1),
]
CLOCK_FAR_BACK_TO_THE_SAME_FIELD: list[Row] = [
    (0, "charge a", 2, True, 2),
    (-61 * 60_000, "acquire", None, True, 3),  # what was kept where 10:00:00 is, is of 08:59:00 now
    (-61 * 60_000, "refund a", None, None, 3),
]
CLOCK_BACK: list[Row] = [
    (5_000, "charge", 1, True, 1),
    (2_000, "hold a", 4, True, 5),  # a little back: counted into 10:00:05
    (2_000, "charge b", 3, True, 8),
    (6_000, "charge", 1, True, 9),
    (6_000, "refund b", 2, None, 7),
    (6_000, "settle a", 1, None, 4),
    (65_999, "peek", 1, True, 4),
    (66_000, "peek", 1, True, 1),  # nothing of it was at 10:00:02
]
CLOCK_FAR_BACK: list[Row] = [
    (0, "hold a", 4, True, 4),
    (0, "hold b", 2, True, 6),
    (0, "charge c", 2, True, 8),
    (-3_600_000, "peek", 2, True, 8),
    (-3_600_000, "acquire", None, True, 9),  # everything counts as of now, and nobody knows any more what was when
    (-3_600_000, "settle a", 1, None, 9),
    (-3_600_000, "settle b", 3, None, 10),
    (-3_600_000, "refund c", None, None, 10),
    (-3_539_001, "peek", 1, False, 10),
    (-3_539_000, "peek", 10, True, 0),
]
# Not even when the clock has come back: what is in that second now is somebody else's.
CLOCK_FAR_BACK_AND_FORTH: list[Row] = [
    (0, "hold a", 4, True, 4),
    (-70_000, "renew a", None, True, 4),
    (-70_000, "acquire", None, True, 5),
    (-61_000, "renew a", None, True, 5),
    (-52_000, "renew a", None, True, 5),
    (-43_000, "renew a", None, True, 5),
    (-34_000, "renew a", None, True, 5),
    (-25_000, "renew a", None, True, 5),
    (-16_000, "renew a", None, True, 5),
    (-7_000, "renew a", None, True, 0),
    (0, "charge", 9, True, 9),
    (0, "settle a", 0, None, 9),
]
CLOCK_FAR_BACK_AND_A_CRASH: list[Row] = [
    (0, "hold a", 4, True, 4),
    (-3_600_000, "acquire", None, True, 5),
    (-3_590_000, "acquire", None, True, 6),  # a lease later it is forgotten, and counts until it leaves
    (-3_590_000, "renew a", None, False, 6),
]
TOMBSTONE: list[Row] = [
    (0, "hold a", 4, True, 4),
    (1_000, "settle a", 4, None, 4),
    (1_000 + 3 * LEASE, "settle a", 4, None, 4),  # after three leases without the store
    (1_000 + KNOWN - 1, "settle a", 4, None, 0),
    (1_000 + KNOWN, "settle a", 4, None, 4),  # nobody knows it any more
]


@pytest.mark.parametrize(
    "rows",
    [
        SETTLED, COUNTED_WHERE, AFTER_THE_WINDOW, EXPIRED, EXPIRED_AND_NOBODY_CAME, A_DENIAL_GIVES_BACK, FORGOTTEN,
        REFUNDED, THE_OLDEST, CLOCK_FAR_BACK_TO_THE_SAME_FIELD,
        CLOCK_BACK, CLOCK_FAR_BACK, CLOCK_FAR_BACK_AND_FORTH, CLOCK_FAR_BACK_AND_A_CRASH, TOMBSTONE,
    ],
)  # fmt: skip
def test_a_rate(units: Subject, rows: Sequence[Row]) -> None:
    """Each verb about one rate: what it answers, and what is used then."""
    units.run(play(units, tokens(), rows))


QUOTA: list[Row] = [
    (0, "hold a", 6, True, 6),
    (0, "hold b", 5, False, 6),
    (1_000, "settle a", 2, None, 2),
    (1_000, "settle a", 0, None, 2),
    (2_000, "hold b", 4, True, 6),
    (3_000, "charge c", 7, True, 13),
    (4_000, "refund c", 5, None, 8),
    (12_000, "acquire", None, True, 5),  # b went back
    (13_000, "settle b", 9, None, 14),
    (14_000, "acquire", None, False, 14),
    (15_000, "reset", None, True, 0),
]
QUOTA_THAT_ENDS: list[Row] = [
    (0, "hold a", 6, True, 6),
    (0, "hold b", 2, True, 8),
    (0, "charge c", 2, True, 10),
    (MIDNIGHT, "charge", 3, True, 3),
    (MIDNIGHT, "settle b", 1, None, 4),  # it expired: charged in the new day
    (MIDNIGHT, "refund c", None, None, 4),  # of yesterday
    (MIDNIGHT, "renew a", None, False, 4),
]
QUOTA_RENEWED_OVER_ITS_END: list[Row] = [
    (MIDNIGHT - 5_000, "hold a", 6, True, 6),
    (MIDNIGHT - 1, "charge c", 1, True, 7),
    (MIDNIGHT, "renew a", None, True, 0),
    (MIDNIGHT, "settle a", 2, None, 0),  # counted yesterday, as they were held
    (MIDNIGHT + 1, "hold b", 2, True, 2),
    (MIDNIGHT + 1, "refund c", None, None, 2),
    (MIDNIGHT + 1, "settle b", 5, None, 5),
]
QUOTA_CLOCK_BACK: list[Row] = [
    (MIDNIGHT, "charge", 1, True, 1),
    (MIDNIGHT - 1, "hold a", 4, True, 5),  # the new day's count goes on
    (MIDNIGHT - 1, "charge b", 3, True, 8),
    (MIDNIGHT - 1, "refund b", 1, None, 7),
    (MIDNIGHT + 1, "refund b", 1, None, 6),
    (MIDNIGHT + 1, "settle a", 1, None, 3),
    (MIDNIGHT + 2, "charge c", 2, True, 5),
    (MIDNIGHT - 1, "refund c", None, None, 3),
]
# Over midnight and back again: yesterday's count is gone, and nothing of yesterday goes back into today's.
QUOTA_CLOCK_BACK_BEHIND_ITS_END: list[Row] = [
    (MIDNIGHT - 2_000, "hold a", 4, True, 4),
    (MIDNIGHT - 2_000, "charge b", 3, True, 7),
    (MIDNIGHT, "charge", 5, True, 5),
    (MIDNIGHT - 1, "refund b", None, None, 5),
    (MIDNIGHT - 1, "settle a", 0, None, 5),
]
QUOTA_CLOCK_FAR_BACK: list[Row] = [
    (365 * DAY, "hold a", 4, True, 4),
    (365 * DAY, "charge b", 2, True, 6),
    (0, "acquire", None, True, 7),
    (0, "settle a", 0, None, 7),
    (0, "refund b", None, None, 7),
    (MIDNIGHT, "acquire", None, True, 1),
]


@pytest.mark.parametrize(
    "rows",
    [
        QUOTA, QUOTA_THAT_ENDS, QUOTA_RENEWED_OVER_ITS_END, QUOTA_CLOCK_BACK, QUOTA_CLOCK_BACK_BEHIND_ITS_END,
        QUOTA_CLOCK_FAR_BACK,
    ],
)  # fmt: skip
def test_a_quota(units: Subject, rows: Sequence[Row]) -> None:
    """The same of a quota, also over the end of its period in either direction."""
    units.run(play(units, monthly(period="day"), rows))


def test_where_it_was_counted(units: Subject) -> None:
    """A decision says where it was counted, if that is not where its instant is: the clock went back over an edge."""
    limits = [tokens(), monthly(period="day"), rate(9, 60_000, cost=0)]

    async def test() -> None:
        await units.at(T + MIDNIGHT + 500).store.charge(limits)
        within = await units.at(T + MIDNIGHT + 200).store.charge(limits)
        assert within.counted_ms == ()
        back = T + MIDNIGHT - 1_500
        for charged in (
            await units.at(back).store.charge(limits),
            await units.acquire(*limits),
            (await units.store.hold(limits[:2], 1, LEASE)).hold.charged,
        ):
            assert charged.counted_ms[:2] == (T + MIDNIGHT, T + MIDNIGHT + 500)
            assert charged.counted_ms[2:] in ((), (back,))
        assert (await units.store.peek(limits)).counted_ms == ()
        assert (await units.store.hold(limits[:2], 99, LEASE)).counted_ms == ()
        assert (await units.at(T + MIDNIGHT + 600).acquire(*limits)).counted_ms == ()

    units.run(test())


def test_peek_is_acquire(units: Subject) -> None:
    """A peek says what acquire then says, field by field, of each state that there is: and changes nothing."""
    limits = [tokens(5, cost=2), monthly(7), rate(1, 10_000, mode="shadow", key="new"), rate(3, 9_000, cost=0)]

    async def test() -> None:
        for after in (0, 0, 500, 1_000, 61_000, 61_000, 61_001, 50_000, -3_600_000, -3_600_000, 40 * DAY):
            units.at(T + after)
            seen = [await units.store.peek(limits) for _ in range(3)]
            decision = await units.acquire(*limits)
            assert {d.units for d in seen} == {0}
            assert [(d.allowed, d.now_ms, d.states) for d in seen] == 3 * [
                (decision.allowed, decision.now_ms, decision.states)
            ]

    units.run(test())


def test_units_multiply_each_cost(units: Subject) -> None:
    """Units times the cost of each charge; a cost of 0 stays 0, and is never exceeded, also where nothing is left."""
    limits = [tokens(10, cost=2), monthly(3), rate(5, 60_000, cost=0, key="free", hold=True)]

    async def test() -> None:
        held = await units.at(T).store.hold(limits, 3, LEASE)
        assert (held.allowed, [state.used for state in held.states]) == (True, [6, 3, 0])
        assert (held.hold.units, held.hold.lease.lease_ms) == (3, LEASE)
        denied = await units.store.peek(limits, 1)
        assert [state.exceeded for state in denied.states] == [False, True, False]
        assert denied.denying.retry_after_ms == denied.denying.reset_after_ms
        assert (await units.store.peek(limits[:1], 2)).allowed
        never = await units.store.peek(limits, 6)
        assert [state.retry_after_ms for state in never.states] == [None, None, 0]
        charged = await units.store.charge(limits, 4)
        assert [(state.used, state.remaining, state.exceeded) for state in charged.states] == [
            (14, 0, False), (7, 0, False), (0, 5, False),
        ]  # fmt: skip
        assert (await units.store.peek(limits[2:], 1_000)).allowed
        await units.store.settle(held.hold, 1)
        await units.store.refund(charged, 3)
        assert [state.used for state in (await units.store.peek(limits, 0)).states] == [4, 2, 0]
        assert (await units.store.hold(limits[2:], 9, LEASE)).hold.lease.counters == ()

    units.run(test())


def test_all_or_nothing(units: Subject) -> None:
    """What one limit denies is held of none, and there is no hold of it."""
    limits = [tokens(10), monthly(3)]

    async def test() -> None:
        denied = await units.at(T).store.hold(limits, 4, LEASE)
        assert (denied.allowed, denied.hold, [state.used for state in denied.states]) == (False, None, [0, 0])
        assert [state.exceeded for state in denied.states] == [False, True]
        assert [state.used for state in (await units.acquire(*limits)).states] == [1, 1]

    units.run(test())


def test_a_denied_request_gives_nothing_back(units: Subject) -> None:
    """Also not to a limit that would have admitted it."""
    wide, narrow = tokens(10), monthly(1)

    async def test() -> None:
        await units.at(T).acquire(wide, narrow)
        denied = await units.acquire(wide, narrow)
        assert [state.exceeded for state in denied.states] == [False, True]
        await units.store.refund(denied)
        assert [state.used for state in (await units.store.peek([wide, narrow], 0)).states] == [1, 1]

    units.run(test())


def test_a_wait_is_for_all_of_the_units(units: Subject) -> None:
    """Three units at a cost of 1 wait as long as one at a cost of 3, also where a limit changes meanwhile."""
    until = ((T + 30_000, 10), (FOREVER, 4))

    async def test() -> None:
        for second in range(4):
            await units.at(T + 1_000 * second).store.charge([tokens(), rate(4, 60_000, key="later")], 2)
        limits = [tokens(maxes=until), rate(4, 60_000, key="later", enforce_from_ms=T + 20_000)]
        several = await units.store.peek(limits, 3)
        at_once = await units.store.peek([replace(limit, cost=3) for limit in limits])
        assert not several.allowed
        waits = [state.retry_after_ms for state in several.states]
        assert waits == [state.retry_after_ms for state in at_once.states]
        assert max(waits) > 20_000

    units.run(test())


def test_limits_in_shadow(units: Subject) -> None:
    """A limit in shadow that is exceeded is not held, and not settled; what is charged by hand counts in it too."""
    shadow, enforced = monthly(5, mode="shadow"), tokens(10)

    async def test() -> None:
        await units.at(T).store.charge([shadow], 3)
        held = await units.store.hold([shadow, enforced], 4, LEASE)
        assert held.allowed
        assert held.exceeded
        assert held.hold.lease.counters == (enforced.key,)
        await units.store.settle(held.hold, 6)
        assert [state.used for state in (await units.store.peek([shadow, enforced], 0)).states] == [3, 6]
        await units.store.charge([shadow, enforced], 4)
        assert [state.used for state in (await units.store.peek([shadow, enforced], 0)).states] == [7, 10]

    units.run(test())


def test_a_copy_knows_what_was_refunded(units: Subject) -> None:
    """A decision that went through a copy or a pickle gives back no more than was left of it, and says the same."""

    async def test() -> None:
        for copied in (copy.copy, copy.deepcopy, lambda decision: pickle.loads(pickle.dumps(decision))):  # noqa: S301
            limit = replace(tokens(), limit=replace(tokens().limit, max=max))  # a function that can be pickled
            await units.at(T).store.charge([limit], 4)
            spent = await units.store.charge([limit], 4)
            await units.store.refund(spent, 3)
            again = copied(spent)
            assert again == spent
            await units.store.refund(again)
            assert (await units.store.peek([limit], 0)).states[0].used == 4
            await units.store.reset([limit.key])
            whole = await units.acquire(limit)
            await units.store.refund(copied(whole))
            assert (await units.store.peek([limit], 0)).states[0].used == 0

    units.run(test())


def test_what_a_denied_request_had_in_shadow_is_not_refunded(units: Subject) -> None:
    """A refund gives back what was counted: not of a limit in shadow that was exceeded."""
    shadow, enforced = monthly(1, mode="shadow"), tokens(10)

    async def test() -> None:
        first = await units.at(T).acquire(shadow, enforced)
        second = await units.acquire(shadow, enforced)
        await units.store.refund(second)
        assert [state.used for state in (await units.store.peek([shadow, enforced], 0)).states] == [1, 1]
        await units.store.refund(first)
        assert [state.used for state in (await units.store.peek([shadow, enforced], 0)).states] == [0, 0]

    units.run(test())


def test_a_refund_of_a_request_with_a_slot(units: Subject) -> None:
    """Its units go back, its slot is released by itself."""
    cap = concurrency(1)

    async def test() -> None:
        decision = await units.at(T).acquire(tokens(1), cap)
        await units.store.refund(decision)
        again = await units.acquire(tokens(1), cap)
        assert [state.exceeded for state in again.states] == [False, True]
        await units.release(*decision.leases)
        assert (await units.acquire(tokens(1), cap)).allowed

    units.run(test())


def test_never_more_than_is_there(units: Subject) -> None:
    """What somebody else has forgotten or given back already does not go below nothing."""

    async def test() -> None:
        for limit in (tokens(), monthly()):
            spent = await units.at(T).store.charge([limit], 5)
            await units.store.reset([limit.key])
            await units.store.refund(spent)
            await units.store.charge([limit], 2)
            await units.store.refund(await units.store.peek([limit], 9))
            held = (await units.store.hold([limit], 3, LEASE)).hold
            await units.store.reset([limit.key])
            await units.store.charge([limit], 2)
            await units.store.settle(held, 0)
            assert (await units.store.peek([limit], 0)).states[0].used == 2

    units.run(test())


def test_renewal_counter_by_counter(units: Subject) -> None:
    """A hold of several counters is renewed where it is still held; it is gone when it is gone from all of them."""
    one, other = tokens(), monthly()

    async def test() -> None:
        held = (await units.at(T).store.hold([one, other], 4, LEASE)).hold
        assert (await units.at(T + LEASE).acquire(one)).states[0].used == 1  # given back there, not yet in the other
        assert await units.store.renew([held.lease]) == []
        assert [state.used for state in (await units.at(T + LEASE + 1).acquire(one, other)).states] == [2, 5]
        await units.store.settle(held, 1)
        assert [state.used for state in (await units.store.peek([one, other], 0)).states] == [3, 2]
        assert await units.store.renew([held.lease]) == [held.lease]

    units.run(test())


def test_leases_of_both_kinds(units: Subject) -> None:
    """Slots and units are renewed in one call. A slot that is gone is taken again, units are not; and a release of the
    lease of units gives nothing back: settle does."""
    cap = concurrency(1, lease_ms=LEASE)

    async def test() -> None:
        slot = (await units.at(T).acquire(cap)).leases[0]
        held = (await units.store.hold([tokens()], 4, LEASE)).hold
        empty = (await units.store.hold([], 4, LEASE)).hold
        await units.store.release([held.lease, empty.lease])
        assert await units.at(T + 9_000).store.renew([slot, held.lease, empty.lease]) == []
        await units.at(T + 19_000).acquire(cap, tokens())
        assert (await units.store.peek([tokens()], 0)).states[0].used == 1
        assert await units.store.renew([held.lease, slot, empty.lease]) == [held.lease, slot]
        await units.store.settle(empty, 4)

    units.run(test())


def test_hold_is_switched_off(units: Subject) -> None:
    """What is held when a policy no longer says so is still settled; what is not settled counts until it leaves."""
    before, after = tokens(), replace(tokens(), limit=replace(tokens().limit, hold=False))

    async def test() -> None:
        held = (await units.at(T).store.hold([before], 4, LEASE)).hold
        await units.store.hold([before], 2, LEASE)
        assert (await units.at(T + LEASE).acquire(after)).states[0].used == 7
        await units.store.settle(held, 1)
        assert (await units.store.peek([after], 0)).states[0].used == 4

    units.run(test())


@pytest.mark.parametrize("limit", [tokens(FOREVER), monthly(FOREVER)])
def test_large_numbers(units: Subject, limit: Charge) -> None:
    """A counter is full at 2^53 - 1, and loses no unit up to there."""

    async def test() -> None:
        held = (await units.at(T).store.hold([limit], FOREVER - 2, LEASE)).hold
        assert not (await units.store.hold([limit], 3, LEASE)).allowed
        await units.store.charge([limit], 1)
        assert (await units.store.charge([limit], FOREVER)).states[0].used == FOREVER
        await units.store.settle(held, FOREVER)
        assert (await units.store.peek([limit], 0)).states[0].used == FOREVER
        assert not (await units.acquire(limit)).allowed

    units.run(test())


def test_reset_of_every_kind(units: Subject) -> None:
    """Counters of all kinds are forgotten, each told once; a slot whose request goes on is taken again as it is
    renewed."""
    limits = [tokens(1), monthly(1), concurrency(1, lease_ms=LEASE)]
    keys = [limit.key for limit in limits]

    async def test() -> None:
        first = await units.at(T).acquire(*limits)
        assert not (await units.acquire(*limits)).allowed
        assert await units.store.reset([*keys, *keys, "{user=ana}:unknown"]) == 3
        assert await units.store.reset(keys) == 0
        assert await units.store.renew(first.leases) == []
        again = await units.acquire(*limits)
        assert [state.exceeded for state in again.states] == [False, False, True]

    units.run(test())


def test_what_a_decision_says_of_a_hold(units: Subject) -> None:
    """The hold has the decision as it was, and copies of it settle the same."""

    async def test() -> None:
        decision = await units.at(T).store.hold([tokens(), monthly()], 4, LEASE)
        hold = decision.hold
        assert isinstance(hold, Hold)
        assert hold.lease.counters == (tokens().key, monthly().key)
        assert hold.charged.states == decision.states
        assert (decision.units, hold.charged.hold, hold.charged.counted_ms) == (0, None, ())
        assert copy.deepcopy(hold) == hold
        await units.store.settle(copy.deepcopy(hold), 1)
        await units.store.settle(hold, 3)
        assert [state.used for state in (await units.store.peek([tokens(), monthly()], 0)).states] == [1, 1]

    units.run(test())


BAD_UNITS = [
    (-1, "units: -1 is too small; the least is 0"),
    (True, "units: true is not a whole number"),
    (1.0, "units: 1.0 is not a whole number"),
    ("3", 'units: "3" is not a whole number'),
    (None, "units: a value of type NoneType is not a whole number"),
    (2**53, f"units: {2**53} is too large; the most is {2**53 - 1}"),
    (2**52, f'units: Limit "tokens": {2**52} times the cost of 2 is too large; the most is {2**53 - 1}'),
]
IN_UNITS = 'Limit "concurrency": its slots are not counted in units; leave it out, or acquire it'


async def refused(units: Subject, message: str, verb: str, *asked: Any) -> None:
    """It says what is wrong, and nothing is done."""

    async def used() -> list[int]:
        slots = await units.acquire(concurrency(5))
        await units.release(*slots.leases)
        counted = await units.store.peek([tokens(), monthly(), rate(5, 60_000, key="requests")], 0)
        return [state.used for state in (*slots.states, *counted.states)]

    before = await used()
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the whole message is compared
        await getattr(units.store, verb)(*asked)
    assert str(refusal.value) == message
    assert await used() == before


@pytest.mark.parametrize(("count", "message"), BAD_UNITS)
def test_bad_units(units: Subject, count: Any, message: str) -> None:
    """What is no number of units is refused by every verb that counts them, and nothing is done."""
    limit = tokens(cost=2)

    async def test() -> None:
        spent = await units.at(T).acquire(limit)
        held = await units.store.hold([limit], 1, LEASE)
        await refused(units, message, "peek", [limit], count)
        await refused(units, message, "charge", [limit], count)
        of_a_hold = message.replace("the least is 0", "the least is 1")
        await refused(units, of_a_hold, "hold", [limit], count, LEASE)
        await refused(units, message.replace("units:", "used:"), "settle", held.hold, count)
        if count is not None and "times" not in message:
            await refused(units, message, "refund", spent, count)
        await units.store.refund(spent)
        await units.store.settle(held.hold, 0)

    units.run(test())


def test_bad_holds(units: Subject) -> None:
    """A hold of nothing, of slots, of a limit without it, or for no time is refused, and nothing is held."""
    plain = rate(5, 60_000, key="requests")

    async def test() -> None:
        await refused(units.at(T), "units: 0 is too small; the least is 1", "hold", [tokens()], 0, LEASE)
        of_this = 'Limit "requests": units of it can\'t be held; write hold = true in its policy'
        await refused(units, of_this, "hold", [tokens(), plain], 1, LEASE)
        for verb, rest in (("hold", [1, LEASE]), ("peek", [1]), ("charge", [1])):
            await refused(units, IN_UNITS, verb, [tokens(), concurrency(5)], *rest)
        out_of_range = "is out of range; the shortest lease is 1s, the longest 36500d"
        for lease_ms, what in [
            (999, f"999 {out_of_range}"),
            (0, f"0 {out_of_range}"),
            (36_500 * DAY + 1, f"{36_500 * DAY + 1} {out_of_range}"),
            ("60s", '"60s" is not a whole number'),
            (60.0, "60.0 is not a whole number"),
        ]:
            await refused(units, f"lease_ms: {what}", "hold", [tokens()], 1, lease_ms)

    units.run(test())


def test_bad_settles(units: Subject) -> None:
    """What is no hold of this store is not settled here, and can still be settled where it is."""

    async def test() -> None:
        other = Subject("memory").at(T)
        theirs = (await other.store.hold([tokens()], 4, LEASE)).hold
        await refused(units.at(T), "the hold is of another store; settle it there", "settle", theirs, 1)
        assert await units.store.renew([theirs.lease]) == [theirs.lease]
        await other.store.settle(theirs, 1)
        assert (await other.store.peek([tokens()], 0)).states[0].used == 1
        no_hold = "is no Hold; settle the hold of a Decision that is allowed"
        denied = await units.store.hold([tokens(0)], 1, LEASE)
        await refused(units, f"a value of type NoneType {no_hold}", "settle", denied.hold, 1)
        await refused(units, f"a value of type Decision {no_hold}", "settle", denied, 1)

    units.run(test())


def test_bad_refunds_and_resets(units: Subject) -> None:
    """Units that are held are settled, not refunded; of a decision that was made without the store nothing goes
    back."""

    async def test() -> None:
        held = await units.at(T).store.hold([tokens()], 4, LEASE)
        await refused(units, "the units of this Decision are held; settle its hold", "refund", held)
        await units.store.refund(held.hold.charged)
        await units.store.refund(Decision(True, 0, unavailable=True))
        assert (await units.store.peek([tokens()], 0)).states[0].used == 4
        one = '"{user=ana}:tokens" is one key, not several; write ["{user=ana}:tokens"]'
        await refused(units, one, "reset", tokens().key)

    units.run(test())
