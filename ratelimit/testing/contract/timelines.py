"""How a timeline of units is written, and played on a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ratelimit.model import Charge
from ratelimit.testing.contract.subject import Subject, T, quota, rate

MIDNIGHT = 50_400_000  # after T
DAY = 86_400_000
LEASE = 10_000
KNOWN = 4 * LEASE + 3_600_000  # so long it is known of a hold that it was settled


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
