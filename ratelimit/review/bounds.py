"""How much of one limit another lets through: whether a limit ever denies anybody."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ratelimit.config.checks.limits import limits_of
from ratelimit.config.grammar.amounts import Amount
from ratelimit.config.grammar.messages import Path, place
from ratelimit.config.grammar.tables import LimitTable
from ratelimit.config.grammar.valid import Valid
from ratelimit.ground.words import shown
from ratelimit.model import ANONYMOUS
from ratelimit.review.findings import Odd

_HOUR = 3_600_000
_DAY = 24 * _HOUR
LONGEST = {"day": _DAY + _HOUR, "week": 7 * _DAY + _HOUR, "month": 31 * _DAY + _HOUR, "year": 366 * _DAY + _HOUR}
SHORTEST = {"day": _DAY - _HOUR, "week": 7 * _DAY - _HOUR, "month": 28 * _DAY - _HOUR, "year": 365 * _DAY - _HOUR}
_DAYS = {"day": 1, "week": 7, "month": 31, "year": 366}  # in the longest, where both begin their days together
_PRECISION = 60
_AT_THE_ROOT = frozenset({"identity", "organization"})  # parts of a `per` that tell nobody apart within a root


def pointless(valid: Valid, now: int) -> Iterator[Odd]:
    """A limit that never denies, as another of its tier stops whoever could exceed it before that."""
    overridden = {name for override in valid.file.overrides for name in override.limits}
    of: dict[str | int, list[tuple[Path, LimitTable]]] = {}
    for path, limit in limits_of(valid):
        of.setdefault(path[1], []).append((path, limit))
    for tier, limits in of.items():
        fixed = [(path, limit) for path, limit in limits if limit.name not in overridden and _counts(limit)]
        for at, (path, limit) in enumerate(fixed):
            for number, (where, other) in enumerate(fixed):
                most = _let_through(other, limit, str(tier), now) if number != at else None
                if most is None or (number > at and _let_through(limit, other, str(tier), now) is not None):
                    continue  # of two that are alike the second is the one too many
                by = f"{shown(other.name)} ({place(where[2:])}, {written(other)})"
                sentence = f"{shown(limit.name)}, {written(limit)}, never denies: {by} lets no more than {most} through"
                yield Odd(path, "limit-pointless", sentence, "lower its max, or leave it out")
                break


def _counts(limit: LimitTable) -> bool:
    """Whether what it denies is known from the file: the app holds units by hand, or charges what has no operations."""
    return limit.mode == "enforce" and limit.launch is None and not limit.hold and limit.operations != []


def _let_through(sooner: LimitTable, limit: LimitTable, tier: str, now: int) -> int | None:
    """The most that `limit` could ever count, as `sooner` lets no more through; None where it may come to its max."""
    own, other = amount_of(limit), amount_of(sooner)
    if own.max.names or other.max.names or not _reaches(sooner, limit, tier) or not _by_then(sooner, limit, now):
        return None
    periods = _periods(limit, sooner)
    most = other.max({})
    return most * periods if periods is not None and 0 < most * periods <= own.max({}) else None


def _reaches(sooner: LimitTable, limit: LimitTable, tier: str) -> bool:
    """Whether all that one counts is counted by the other, in as few counters, at no lower cost."""
    if (sooner.refund_on or sooner.charge_on) and (sooner.refund_on, sooner.charge_on) != (
        limit.refund_on,
        limit.charge_on,
    ):
        return False
    if sooner.operations is not None and not set(limit.operations or [""]) <= set(sooner.operations):
        return False
    return _parts(sooner, tier) <= _parts(limit, tier) and sooner.counts == limit.counts and _costs_less(limit, sooner)


def _parts(limit: LimitTable, tier: str) -> set[str]:
    """Of whoever has no key the address is the root, unless the app knows it."""
    return set(limit.per) - _AT_THE_ROOT - ({"ip"} if tier == ANONYMOUS else set())


def _costs_less(limit: LimitTable, other: LimitTable) -> bool:
    named = [*(limit.operations or ()), *_table(limit), *_table(other)]
    asked = [name for name in named if limit.operations is None or name in limit.operations]
    return all(
        cost_of(limit, name) <= cost_of(other, name) for name in [*asked, *([""] if limit.operations is None else [])]
    )


def _table(limit: LimitTable) -> Collection[str]:
    return () if isinstance(limit.cost, int) else limit.cost


def cost_of(limit: LimitTable, operation: str) -> int:
    return limit.cost if isinstance(limit.cost, int) else limit.cost.get(operation, 1)


def _by_then(sooner: LimitTable, limit: LimitTable, now: int) -> bool:
    """Whether it denies already whenever the other does."""
    begins, other = ((one.enforce_from.timestamp() * 1000 if one.enforce_from else 0) for one in (sooner, limit))
    return begins <= max(now, other)


def _periods(limit: LimitTable, sooner: LimitTable) -> int | None:
    """So many windows or periods of `sooner` are there in what `limit` counts together; None of two other kinds."""
    if (limit.concurrency is None) != (sooner.concurrency is None):
        return None
    if limit.concurrency is not None:
        return 1
    if limit.rate is not None and sooner.rate is not None and _window(limit) == _window(sooner):
        return 1
    return _of_calendar(limit, sooner) or _touched(limit, sooner)


def _window(limit: LimitTable) -> tuple[int, int]:
    window = limit.rate.window_ms if limit.rate else None
    return window or 0, limit.precision or _PRECISION


def _of_calendar(limit: LimitTable, sooner: LimitTable) -> int | None:
    """Of two quotas of one time zone, where the periods of one are made of whole ones of the other."""
    if limit.quota is None or sooner.quota is None or (limit.timezone or "UTC") != (sooner.timezone or "UTC"):
        return None
    long, short = str(limit.quota.period), str(sooner.quota.period)
    if long == short:
        return 1 if (limit.anchor_day or 1) == (sooner.anchor_day or 1) else None
    if short == "day":
        return _DAYS[long]
    return 1 if long == "day" else None


def _touched(limit: LimitTable, sooner: LimitTable) -> int:
    """Of the windows, or of the periods, wherever they begin. A rate counts its window and one sub-window more."""
    if limit.quota is not None:
        span = LONGEST[str(limit.quota.period)]
    else:
        window, precision = _window(limit)
        span = window + -(-window // precision)
    if sooner.quota is not None:
        return -(-span // SHORTEST[str(sooner.quota.period)]) + 1
    return -(-span // _window(sooner)[0])


def amount_of(limit: LimitTable) -> Amount:
    amount = limit.rate or limit.quota or limit.concurrency
    assert amount is not None  # noqa: S101 - the checks have seen to it
    return amount


def written(limit: LimitTable) -> str:
    return f"{amount_of(limit).written} at a time" if limit.concurrency else str(amount_of(limit).written)
