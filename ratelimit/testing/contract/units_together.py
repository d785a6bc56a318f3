"""The verbs that count units over several limits: all or nothing, in shadow, given back once and never too much."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

from ratelimit.model import FOREVER
from ratelimit.testing.contract.subject import Subject, T, concurrency, rate
from ratelimit.testing.contract.timelines import DAY, LEASE, MIDNIGHT, monthly, tokens


def test_where_it_was_counted(subject: Subject) -> None:
    """A decision says where it was counted, if that is not where its instant is: the clock went back over an edge."""
    limits = [tokens(), monthly(period="day"), rate(9, 60_000, cost=0)]

    async def test() -> None:
        await subject.at(T + MIDNIGHT + 500).store.charge(limits)
        within = await subject.at(T + MIDNIGHT + 200).store.charge(limits)
        assert within.counted_ms == ()
        back = T + MIDNIGHT - 1_500
        for charged in (
            await subject.at(back).store.charge(limits),
            await subject.acquire(*limits),
            (await subject.store.hold(limits[:2], 1, LEASE)).hold.charged,
        ):
            assert charged.counted_ms[:2] == (T + MIDNIGHT, T + MIDNIGHT + 500)
            assert charged.counted_ms[2:] in ((), (back,))
        assert (await subject.store.peek(limits)).counted_ms == ()
        assert (await subject.store.hold(limits[:2], 99, LEASE)).counted_ms == ()
        assert (await subject.at(T + MIDNIGHT + 600).acquire(*limits)).counted_ms == ()

    subject.run(test())


def test_peek_is_acquire(subject: Subject) -> None:
    """A peek says what acquire then says, field by field, of each state that there is: and changes nothing."""
    limits = [tokens(5, cost=2), monthly(7), rate(1, 10_000, mode="shadow", key="new"), rate(3, 9_000, cost=0)]

    async def test() -> None:
        for after in (0, 0, 500, 1_000, 61_000, 61_000, 61_001, 50_000, -3_600_000, -3_600_000, 40 * DAY):
            subject.at(T + after)
            seen = [await subject.store.peek(limits) for _ in range(3)]
            decision = await subject.acquire(*limits)
            assert {d.units for d in seen} == {0}
            assert [(d.allowed, d.now_ms, d.states) for d in seen] == 3 * [
                (decision.allowed, decision.now_ms, decision.states)
            ]

    subject.run(test())


def test_units_multiply_each_cost(subject: Subject) -> None:
    """Units times the cost of each charge; a cost of 0 stays 0, and is never exceeded, also where nothing is left."""
    limits = [tokens(10, cost=2), monthly(3), rate(5, 60_000, cost=0, key="free", hold=True)]

    async def test() -> None:
        held = await subject.at(T).store.hold(limits, 3, LEASE)
        assert (held.allowed, [state.used for state in held.states]) == (True, [6, 3, 0])
        assert (held.hold.units, held.hold.lease.lease_ms) == (3, LEASE)
        denied = await subject.store.peek(limits, 1)
        assert [state.exceeded for state in denied.states] == [False, True, False]
        assert denied.denying.retry_after_ms == denied.denying.reset_after_ms
        assert (await subject.store.peek(limits[:1], 2)).allowed
        never = await subject.store.peek(limits, 6)
        assert [state.retry_after_ms for state in never.states] == [None, None, 0]
        charged = await subject.store.charge(limits, 4)
        assert [(state.used, state.remaining, state.exceeded) for state in charged.states] == [
            (14, 0, False), (7, 0, False), (0, 5, False),
        ]  # fmt: skip
        assert (await subject.store.peek(limits[2:], 1_000)).allowed
        await subject.store.settle(held.hold, 1)
        await subject.store.refund(charged, 3)
        assert [state.used for state in (await subject.store.peek(limits, 0)).states] == [4, 2, 0]
        assert (await subject.store.hold(limits[2:], 9, LEASE)).hold.lease.counters == ()

    subject.run(test())


def test_all_or_nothing_of_units(subject: Subject) -> None:
    """What one limit denies is held of none, and there is no hold of it."""
    limits = [tokens(10), monthly(3)]

    async def test() -> None:
        denied = await subject.at(T).store.hold(limits, 4, LEASE)
        assert (denied.allowed, denied.hold, [state.used for state in denied.states]) == (False, None, [0, 0])
        assert [state.exceeded for state in denied.states] == [False, True]
        assert [state.used for state in (await subject.acquire(*limits)).states] == [1, 1]

    subject.run(test())


def test_a_denied_request_gives_nothing_back(subject: Subject) -> None:
    """Also not to a limit that would have admitted it."""
    wide, narrow = tokens(10), monthly(1)

    async def test() -> None:
        await subject.at(T).acquire(wide, narrow)
        denied = await subject.acquire(wide, narrow)
        assert [state.exceeded for state in denied.states] == [False, True]
        await subject.store.refund(denied)
        assert [state.used for state in (await subject.store.peek([wide, narrow], 0)).states] == [1, 1]

    subject.run(test())


def test_a_wait_is_for_all_of_the_units(subject: Subject) -> None:
    """Three units at a cost of 1 wait as long as one at a cost of 3, also where a limit changes meanwhile."""
    until = ((T + 30_000, 10), (FOREVER, 4))

    async def test() -> None:
        for second in range(4):
            await subject.at(T + 1_000 * second).store.charge([tokens(), rate(4, 60_000, key="later")], 2)
        limits = [tokens(maxes=until), rate(4, 60_000, key="later", enforce_from_ms=T + 20_000)]
        several = await subject.store.peek(limits, 3)
        at_once = await subject.store.peek([replace(limit, cost=3) for limit in limits])
        assert not several.allowed
        waits = [state.retry_after_ms for state in several.states]
        assert waits == [state.retry_after_ms for state in at_once.states]
        assert max(waits) > 20_000

    subject.run(test())


def test_limits_in_shadow(subject: Subject) -> None:
    """A limit in shadow that is exceeded is not held, and not settled; what is charged by hand counts in it too."""
    shadow, enforced = monthly(5, mode="shadow"), tokens(10)

    async def test() -> None:
        await subject.at(T).store.charge([shadow], 3)
        held = await subject.store.hold([shadow, enforced], 4, LEASE)
        assert held.allowed
        assert held.exceeded
        assert held.hold.lease.counters == (enforced.key,)
        await subject.store.settle(held.hold, 6)
        assert [state.used for state in (await subject.store.peek([shadow, enforced], 0)).states] == [3, 6]
        await subject.store.charge([shadow, enforced], 4)
        assert [state.used for state in (await subject.store.peek([shadow, enforced], 0)).states] == [7, 10]

    subject.run(test())


def test_a_copy_knows_what_was_refunded(subject: Subject) -> None:
    """A decision that went through a copy or a pickle gives back no more than was left of it, and says the same."""

    async def test() -> None:
        for copied in (copy.copy, copy.deepcopy, lambda decision: pickle.loads(pickle.dumps(decision))):  # noqa: S301
            limit = replace(tokens(), limit=replace(tokens().limit, max=max))  # a function that can be pickled
            await subject.at(T).store.charge([limit], 4)
            spent = await subject.store.charge([limit], 4)
            await subject.store.refund(spent, 3)
            again = copied(spent)
            assert again == spent
            await subject.store.refund(again)
            assert (await subject.store.peek([limit], 0)).states[0].used == 4
            await subject.store.reset([limit.key])
            whole = await subject.acquire(limit)
            await subject.store.refund(copied(whole))
            assert (await subject.store.peek([limit], 0)).states[0].used == 0

    subject.run(test())


def test_what_a_denied_request_had_in_shadow_is_not_refunded(subject: Subject) -> None:
    """A refund gives back what was counted: not of a limit in shadow that was exceeded."""
    shadow, enforced = monthly(1, mode="shadow"), tokens(10)

    async def test() -> None:
        first = await subject.at(T).acquire(shadow, enforced)
        second = await subject.acquire(shadow, enforced)
        await subject.store.refund(second)
        assert [state.used for state in (await subject.store.peek([shadow, enforced], 0)).states] == [1, 1]
        await subject.store.refund(first)
        assert [state.used for state in (await subject.store.peek([shadow, enforced], 0)).states] == [0, 0]

    subject.run(test())


def test_a_refund_of_a_request_with_a_slot(subject: Subject) -> None:
    """Its units go back, its slot is released by itself."""
    cap = concurrency(1)

    async def test() -> None:
        decision = await subject.at(T).acquire(tokens(1), cap)
        await subject.store.refund(decision)
        again = await subject.acquire(tokens(1), cap)
        assert [state.exceeded for state in again.states] == [False, True]
        await subject.release(*decision.leases)
        assert (await subject.acquire(tokens(1), cap)).allowed

    subject.run(test())


def test_never_more_than_is_there(subject: Subject) -> None:
    """What somebody else has forgotten or given back already does not go below nothing."""

    async def test() -> None:
        for limit in (tokens(), monthly()):
            spent = await subject.at(T).store.charge([limit], 5)
            await subject.store.reset([limit.key])
            await subject.store.refund(spent)
            await subject.store.charge([limit], 2)
            await subject.store.refund(await subject.store.peek([limit], 9))
            held = (await subject.store.hold([limit], 3, LEASE)).hold
            await subject.store.reset([limit.key])
            await subject.store.charge([limit], 2)
            await subject.store.settle(held, 0)
            assert (await subject.store.peek([limit], 0)).states[0].used == 2

    subject.run(test())
