"""Whether `reserve = true` can save a trip to the store: only where everything that a request is charged to has it."""

from __future__ import annotations

from collections.abc import Iterator

from ratelimit.checks.values import BUILT_IN, EXEMPT
from ratelimit.config.checks.limits import messages_of
from ratelimit.config.grammar.messages import Path, Problem, place
from ratelimit.config.grammar.tables import LimitTable
from ratelimit.config.grammar.valid import Valid
from ratelimit.ground.words import listed, shown

_Limits = list[tuple[Path, LimitTable]]


def check_reserve(valid: Valid) -> Iterator[Problem]:
    """Of limits that could be read whole: what is dropped of another one may be what makes it fit."""
    if ("operations",) in valid.dropped:
        return
    in_part = {dropped[:4] for dropped in valid.dropped}
    messages = messages_of(valid)
    declared = {*BUILT_IN, *valid.given(("operations",)), *filter(None, [messages])}
    for name, tier in valid.file.tiers.items():
        read = valid.numbered(("tiers", name, "limits"), tier.limits)
        limits = [(path, limit) for path, limit in read if path not in in_part]
        for path, limit in limits:
            if limit.reserve and limit.concurrency is None:
                operations = {*declared, *(limit.operations or ())} - {EXEMPT}
                yield from _check_effect(path, limit, limits, operations, messages)


def _check_effect(
    path: Path, limit: LimitTable, limits: _Limits, operations: set[str], messages: str | None
) -> Iterator[Problem]:
    """By operation, the limits that have the store asked anyway. One operation without any is enough. Messages take no
    slots."""
    asking = [
        {
            index
            for index, (_, other) in enumerate(limits)
            if _asks(other) and charged(other, operation) and (other.concurrency is None or operation != messages)
        }
        for operation in operations
        if charged(limit, operation)
    ]
    if not asking or not all(asking):
        return
    caps = {index for index, (_, other) in enumerate(limits) if other.concurrency is not None}
    mendable = [indexes for indexes in asking if not indexes & caps]
    if mendable:  # with reserve on all that are named it has an effect, so one reading of the message is enough
        why = f"for {_named(limits, set().union(*mendable))} without reserve"
        advice = "write reserve = true there too, or take it off here"
    else:
        why = f"for a slot of {_named(limits, caps & set().union(*asking))}"
        advice = "take reserve off here, or let fewer operations take a slot"
    yield Problem((*path, "reserve"), f"never has an effect: the same requests go to the store anyway, {why}; {advice}")


def _asks(limit: LimitTable) -> bool:
    return limit.concurrency is not None or not limit.reserve


def charged(limit: LimitTable, operation: str) -> bool:
    """Whether it takes anything for an operation."""
    cost = limit.cost if isinstance(limit.cost, int) else limit.cost.get(operation, 1)
    return limit.mode != "off" and cost > 0 and (limit.operations is None or operation in limit.operations)


def _named(limits: _Limits, indexes: set[int]) -> str:
    """`"monthly" (limits[1]), "daily" (limits[2])`"""
    return listed(f"{shown(limits[index][1].name)} ({place(limits[index][0][2:])})" for index in sorted(indexes))
