"""What callers are charged in the measures that need no app: policies in a few lines, and counters that are full."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from ratelimit import Charge, Identity, parse_policy
from ratelimit.policy import Policy
from tests.stores import Subject

OPERATION = "detail_read"
MINUTE = 60  # the sub-windows of a minute's window, each a second; one more counts in part
Charges = tuple[Charge, ...]


def policy(*limits: str) -> Policy:
    """Anonymous callers, and the tier `known` with these limits: `rate = "100/minute"`; a second rate is named so."""
    kinds = [limit.split()[0] for limit in limits]
    names = [f"{kind} {before + 1}" if (before := kinds[:n].count(kind)) else kind for n, kind in enumerate(kinds)]
    rows = "\n".join(f'  {{ name = "{name}", {limit} }},' for name, limit in zip(names, limits, strict=True))
    return parse_policy(
        f'[tiers.anonymous]\nlimits = [ {{ name = "ip", rate = "60/minute" }} ]\n[tiers.known]\nlimits = [\n{rows}\n]\n'
    )


def charges_of(limits: Policy, callers: int) -> Sequence[Charges]:
    """The charges of so many organizations, made once each, as a policy that remembers them hands them out."""
    return [limits.charges(organization(number), OPERATION) for number in range(callers)]


def organization(number: int) -> Identity:
    return Identity(organization=f"customer-{number}", tier="known")


def costing(charges: Charges, cost: int) -> Charges:
    return tuple(replace(charge, cost=cost) for charge in charges)


async def use_up(subject: Subject, callers: Sequence[Charges], maximum: int, now_ms: int) -> None:
    """Let each caller use all of a minute's limit of `maximum`, and something in every second that counts at `now_ms`.

    The clock of the script is put to each of these seconds in turn, so that it takes less than a minute.
    """
    for second in range(MINUTE + 1):
        share = maximum * (second + 1) // (MINUTE + 1) - maximum * second // (MINUTE + 1)
        subject.at(now_ms - (MINUTE - second) * 1_000)
        decisions = await asyncio.gather(*(subject.store.acquire(costing(charges, share)) for charges in callers))
        if not all(decision.allowed for decision in decisions):
            raise RuntimeError(f"a caller could not use {maximum} of {maximum} within a minute")
