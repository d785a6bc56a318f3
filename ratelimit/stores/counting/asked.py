"""What is asked of the verbs that count units, checked before anything is done: ValueError says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ratelimit.checks import durations
from ratelimit.checks import values as checks
from ratelimit.ground.words import shown
from ratelimit.model import Charge, Concurrency, Decision, Hold


def countable(charges: Sequence[Charge], units: int, *, least: int = 0) -> None:
    _at("units", checks.whole, units, least, checks.LARGEST)
    for charge in charges:
        if isinstance(charge.limit.kind, Concurrency):
            raise ValueError(f"{_name(charge)}: its slots are not counted in units; leave it out, or acquire it")  # noqa: TRY004
        _check_product("units", charge, units)


def readable(charges: Sequence[Charge], units: int) -> None:
    """As countable, of a peek, which also reads how many slots are held: by a charge that costs nothing."""
    countable([c for c in charges if c.cost or not isinstance(c.limit.kind, Concurrency)], units)


def holdable(charges: Sequence[Charge], units: int, lease_ms: int) -> None:
    countable(charges, units, least=1)
    _at("lease_ms", checks.whole, lease_ms, -checks.LARGEST, checks.LARGEST)
    _at("lease_ms", durations.lease_ms, lease_ms, shown(lease_ms))
    for charge in charges:
        if not charge.limit.hold:
            raise ValueError(f"{_name(charge)}: units of it can't be held; write hold = true in its policy")


def settled(hold: Hold, used: int, store: str) -> list[Charge]:
    """The charges that it took from. `store` ends the id of a hold of the store that is asked."""
    if not isinstance(hold, Hold):
        raise ValueError(f"{shown(hold)} is no Hold; settle the hold of a Decision that is allowed")  # noqa: TRY004
    if not hold.lease.id.endswith(f"@{store}"):
        raise ValueError("the hold is of another store; settle it there")
    _at("used", checks.units, used)
    counters = hold.lease.counters or ()
    charges = [state.charge for state in hold.charged.states if state.charge.key in counters]
    for charge in charges:
        _check_product("used", charge, used)
    return charges


def given_back(spent: Decision, units: int | None) -> int:
    """How often its charges may go back: from now on they have."""
    if spent.hold is not None:
        raise ValueError("the units of this Decision are held; settle its hold")
    if units is not None:
        _at("units", checks.units, units)
    refunded = getattr(spent, "refunded", 0)
    left = spent.units - refunded if spent.allowed and not spent.unavailable else 0
    given = left if units is None else min(units, left)
    spent.refunded = refunded + given
    return given


def resettable(keys: Sequence[str]) -> None:
    if isinstance(keys, str):
        raise ValueError(f"{shown(keys)} is one key, not several; write [{shown(keys)}]")  # noqa: TRY004


def taken(spent: Decision) -> Iterator[tuple[Charge, int]]:
    """What a Decision has counted, and the instant in whose sub-window or period that is."""
    counted_ms = spent.counted_ms or [spent.now_ms] * len(spent.states)
    for state, at_ms in zip(spent.states, counted_ms, strict=True):
        if state.charge.cost and not (state.exceeded or isinstance(state.limit.kind, Concurrency)):
            yield state.charge, at_ms


def _check_product(name: str, charge: Charge, units: int) -> None:
    if units * charge.cost > checks.LARGEST:
        times = f"{units} times the cost of {charge.cost}"
        raise ValueError(f"{name}: {_name(charge)}: {times} is too large; the most is {checks.LARGEST}")


def _name(charge: Charge) -> str:
    return f"Limit {shown(charge.limit.name)}"


def _at(name: str, check: Callable[..., object], *values: object) -> None:
    try:
        check(*values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
