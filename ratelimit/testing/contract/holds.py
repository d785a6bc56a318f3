"""Holds: renewed counter by counter, settled once, and gone when nobody renews them. And what a store refuses."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from ratelimit.model import FOREVER, Charge, Hold
from ratelimit.testing.contract.subject import Subject, T, concurrency
from ratelimit.testing.contract.timelines import LEASE, monthly, tokens


def test_renewal_counter_by_counter(subject: Subject) -> None:
    """A hold of several counters is renewed where it is still held; it is gone when it is gone from all of them."""
    one, other = tokens(), monthly()

    async def test() -> None:
        held = (await subject.at(T).store.hold([one, other], 4, LEASE)).hold
        assert (await subject.at(T + LEASE).acquire(one)).states[0].used == 1  # given back there, not yet in the other
        assert await subject.store.renew([held.lease]) == []
        assert [state.used for state in (await subject.at(T + LEASE + 1).acquire(one, other)).states] == [2, 5]
        await subject.store.settle(held, 1)
        assert [state.used for state in (await subject.store.peek([one, other], 0)).states] == [3, 2]
        assert await subject.store.renew([held.lease]) == [held.lease]

    subject.run(test())


def test_leases_of_both_kinds(subject: Subject) -> None:
    """Slots and units are renewed in one call. A slot that is gone is taken again, units are not; and a release of the
    lease of units gives nothing back: settle does."""
    cap = concurrency(1, lease_ms=LEASE)

    async def test() -> None:
        slot = (await subject.at(T).acquire(cap)).leases[0]
        held = (await subject.store.hold([tokens()], 4, LEASE)).hold
        empty = (await subject.store.hold([], 4, LEASE)).hold
        await subject.store.release([held.lease, empty.lease])
        assert await subject.at(T + 9_000).store.renew([slot, held.lease, empty.lease]) == []
        await subject.at(T + 19_000).acquire(cap, tokens())
        assert (await subject.store.peek([tokens()], 0)).states[0].used == 1
        assert await subject.store.renew([held.lease, slot, empty.lease]) == [held.lease, slot]
        await subject.store.settle(empty, 4)

    subject.run(test())


def test_hold_is_switched_off(subject: Subject) -> None:
    """What is held when a policy no longer says so is still settled; what is not settled counts until it leaves."""
    before, after = tokens(), replace(tokens(), limit=replace(tokens().limit, hold=False))

    async def test() -> None:
        held = (await subject.at(T).store.hold([before], 4, LEASE)).hold
        await subject.store.hold([before], 2, LEASE)
        assert (await subject.at(T + LEASE).acquire(after)).states[0].used == 7
        await subject.store.settle(held, 1)
        assert (await subject.store.peek([after], 0)).states[0].used == 4

    subject.run(test())


@pytest.mark.parametrize("limit", [tokens(FOREVER), monthly(FOREVER)])
def test_large_numbers_of_units(subject: Subject, limit: Charge) -> None:
    """A counter is full at 2^53 - 1, and loses no unit up to there."""

    async def test() -> None:
        held = (await subject.at(T).store.hold([limit], FOREVER - 2, LEASE)).hold
        assert not (await subject.store.hold([limit], 3, LEASE)).allowed
        await subject.store.charge([limit], 1)
        assert (await subject.store.charge([limit], FOREVER)).states[0].used == FOREVER
        await subject.store.settle(held, FOREVER)
        assert (await subject.store.peek([limit], 0)).states[0].used == FOREVER
        assert not (await subject.acquire(limit)).allowed

    subject.run(test())


def test_reset_of_every_kind(subject: Subject) -> None:
    """Counters of all kinds are forgotten, each told once; a slot whose request goes on is taken again as it is
    renewed."""
    limits = [tokens(1), monthly(1), concurrency(1, lease_ms=LEASE)]
    keys = [limit.key for limit in limits]

    async def test() -> None:
        first = await subject.at(T).acquire(*limits)
        assert not (await subject.acquire(*limits)).allowed
        assert await subject.store.reset([*keys, *keys, "{user=ana}:unknown"]) == 3
        assert await subject.store.reset(keys) == 0
        assert await subject.store.renew(first.leases) == []
        again = await subject.acquire(*limits)
        assert [state.exceeded for state in again.states] == [False, False, True]

    subject.run(test())


def test_what_a_decision_says_of_a_hold(subject: Subject) -> None:
    """The hold has the decision as it was, and copies of it settle the same."""

    async def test() -> None:
        decision = await subject.at(T).store.hold([tokens(), monthly()], 4, LEASE)
        hold = decision.hold
        assert isinstance(hold, Hold)
        assert hold.lease.counters == (tokens().key, monthly().key)
        assert hold.charged.states == decision.states
        assert (decision.units, hold.charged.hold, hold.charged.counted_ms) == (0, None, ())
        assert copy.deepcopy(hold) == hold
        await subject.store.settle(copy.deepcopy(hold), 1)
        await subject.store.settle(hold, 3)
        assert [state.used for state in (await subject.store.peek([tokens(), monthly()], 0)).states] == [1, 1]

    subject.run(test())


@pytest.mark.parametrize("count", [-1, True, 1.0, "3", None, 2**53])
def test_what_is_no_number_of_units(subject: Subject, count: Any) -> None:
    """It is a ValueError of every verb that counts them, and nothing is done."""

    async def test() -> None:
        store = subject.at(T).store
        held = (await store.hold([tokens()], 1, LEASE)).hold
        asked = [(store.peek, [count]), (store.charge, [count]), (store.hold, [count, LEASE])]
        for verb, rest in asked:
            with pytest.raises(ValueError):  # noqa: PT011 - in the words of the store
                await verb([tokens()], *rest)
        with pytest.raises(ValueError):  # noqa: PT011
            await store.settle(held, count)
        assert (await store.peek([tokens()], 0)).states[0].used == 1

    subject.run(test())
