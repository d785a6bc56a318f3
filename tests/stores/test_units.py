"""The contract of the verbs that count units, as timelines: peek, charge, refund, hold, settle, renew and reset. And
what the stores of this house say of what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimit.model import Decision
from ratelimit.stores.counting.holds import known_ms
from ratelimit.testing.contract.holds import *  # noqa: F403
from ratelimit.testing.contract.timelines import DAY, KNOWN, LEASE, monthly, tokens
from ratelimit.testing.contract.units_of_quotas import *  # noqa: F403
from ratelimit.testing.contract.units_of_rates import *  # noqa: F403
from ratelimit.testing.contract.units_together import *  # noqa: F403
from tests.stores import Subject, concurrency, rate

T = 1_773_136_800_000  # 2026-03-10T10:00:00Z


def test_how_long_a_settle_is_known() -> None:
    """For four leases and an hour, as the contract has it."""
    assert known_ms(LEASE) == KNOWN


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


async def refused(subject: Subject, message: str, verb: str, *asked: Any) -> None:
    """It says what is wrong, and nothing is done."""

    async def used() -> list[int]:
        slots = await subject.acquire(concurrency(5))
        await subject.release(*slots.leases)
        counted = await subject.store.peek([tokens(), monthly(), rate(5, 60_000, key="requests")], 0)
        return [state.used for state in (*slots.states, *counted.states)]

    before = await used()
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the whole message is compared
        await getattr(subject.store, verb)(*asked)
    assert str(refusal.value) == message
    assert await used() == before


@pytest.mark.parametrize(("count", "message"), BAD_UNITS)
def test_bad_units(subject: Subject, count: Any, message: str) -> None:
    """What is no number of units is refused by every verb that counts them, and nothing is done."""
    limit = tokens(cost=2)

    async def test() -> None:
        spent = await subject.at(T).acquire(limit)
        held = await subject.store.hold([limit], 1, LEASE)
        await refused(subject, message, "peek", [limit], count)
        await refused(subject, message, "charge", [limit], count)
        of_a_hold = message.replace("the least is 0", "the least is 1")
        await refused(subject, of_a_hold, "hold", [limit], count, LEASE)
        await refused(subject, message.replace("units:", "used:"), "settle", held.hold, count)
        if count is not None and "times" not in message:
            await refused(subject, message, "refund", spent, count)
        await subject.store.refund(spent)
        await subject.store.settle(held.hold, 0)

    subject.run(test())


def test_bad_holds(subject: Subject) -> None:
    """A hold of nothing, of slots, of a limit without it, or for no time is refused, and nothing is held."""
    plain = rate(5, 60_000, key="requests")

    async def test() -> None:
        await refused(subject.at(T), "units: 0 is too small; the least is 1", "hold", [tokens()], 0, LEASE)
        of_this = 'Limit "requests": units of it can\'t be held; write hold = true in its policy'
        await refused(subject, of_this, "hold", [tokens(), plain], 1, LEASE)
        for verb, rest in (("hold", [1, LEASE]), ("peek", [1]), ("charge", [1])):
            await refused(subject, IN_UNITS, verb, [tokens(), concurrency(5)], *rest)
        out_of_range = "is out of range; the shortest lease is 1s, the longest 36500d"
        for lease_ms, what in [
            (999, f"999 {out_of_range}"),
            (0, f"0 {out_of_range}"),
            (36_500 * DAY + 1, f"{36_500 * DAY + 1} {out_of_range}"),
            ("60s", '"60s" is not a whole number'),
            (60.0, "60.0 is not a whole number"),
        ]:
            await refused(subject, f"lease_ms: {what}", "hold", [tokens()], 1, lease_ms)

    subject.run(test())


def test_bad_settles(subject: Subject) -> None:
    """What is no hold of this store is not settled here, and can still be settled where it is."""

    async def test() -> None:
        other = Subject("memory").at(T)
        theirs = (await other.store.hold([tokens()], 4, LEASE)).hold
        await refused(subject.at(T), "the hold is of another store; settle it there", "settle", theirs, 1)
        assert await subject.store.renew([theirs.lease]) == [theirs.lease]
        await other.store.settle(theirs, 1)
        assert (await other.store.peek([tokens()], 0)).states[0].used == 1
        no_hold = "is no Hold; settle the hold of a Decision that is allowed"
        denied = await subject.store.hold([tokens(0)], 1, LEASE)
        await refused(subject, f"a value of type NoneType {no_hold}", "settle", denied.hold, 1)
        await refused(subject, f"a value of type Decision {no_hold}", "settle", denied, 1)

    subject.run(test())


def test_bad_refunds_and_resets(subject: Subject) -> None:
    """Units that are held are settled, not refunded; of a decision that was made without the store nothing goes
    back."""

    async def test() -> None:
        held = await subject.at(T).store.hold([tokens()], 4, LEASE)
        await refused(subject, "the units of this Decision are held; settle its hold", "refund", held)
        await subject.store.refund(held.hold.charged)
        await subject.store.refund(Decision(True, 0, unavailable=True))
        assert (await subject.store.peek([tokens()], 0)).states[0].used == 4
        one = '"{user=ana}:tokens" is one key, not several; write ["{user=ana}:tokens"]'
        await refused(subject, one, "reset", tokens().key)

    subject.run(test())
