"""What a program makes by hand is checked where it is made, by the checks of a policy file and in their words.

Each function raises ValueError: `Limit "requests": cost: -1 is too small; the least is 0`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any

from ratelimit.checks import durations
from ratelimit.checks import values as checks
from ratelimit.ground.words import shown

LONGEST_WAIT_MS = 60_000  # that a denied request is held: beyond it clients and proxies give up
LONGEST_QUEUE = 100_000


def rate(window_ms: Any, precision: Any) -> None:
    _at("Rate: window_ms", _whole_window, window_ms)
    _at("Rate: precision", checks.precision, precision)
    if precision > window_ms:
        raise ValueError(f"Rate: precision: {precision} is too large; a sub-window is a millisecond at least")


def quota(period: Any, timezone: Any, anchor_day: Any) -> None:
    _at("Quota: period", checks.one_of_these, period, checks.PERIODS)
    _at("Quota: timezone", checks.timezone, timezone)
    _at("Quota: anchor_day", checks.anchor_day, anchor_day)
    if period != "month" and anchor_day != 1:
        raise ValueError(f"Quota: anchor_day: {checks.anchor_of(period)}")


def concurrency(lease_ms: Any) -> None:
    _at("Concurrency: lease_ms", _whole_lease, lease_ms)


def limit(made: Any, kinds: tuple[type, ...], launch: type, *, slots: bool) -> None:
    """A Limit. `kinds` are what it may be, `launch` what its launch is; `slots`: whether it is one of concurrency."""
    _at("Limit: name", checks.text, made.name)
    place = f"Limit {shown(made.name)}"
    if not isinstance(made.kind, kinds):
        names = ", ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{place}: kind: {shown(made.kind)} limits nothing; write one of {names}")  # noqa: TRY004
    _at(f"{place}: max", _formula, made.max)
    _at(f"{place}: per", _per, made.per)
    _at(f"{place}: operations", _operations, made.operations)
    _at(f"{place}: mode", checks.mode, made.mode)
    _at(f"{place}: enforce_from_ms", checks.whole, made.enforce_from_ms, 0, checks.LARGEST)
    _at(f"{place}: reserve", checks.boolean, made.reserve)
    _at(f"{place}: hold", checks.boolean, made.hold)
    _at(f"{place}: counts", checks.one_of_these, made.counts, checks.COUNTS)
    _at(f"{place}: refund_on", _statuses, made.refund_on)
    _at(f"{place}: charge_on", _statuses, made.charge_on)
    _cost(f"{place}: cost", made.cost, made.operations)
    if slots and made.cost != 1:
        raise ValueError(f"{place}: cost: {checks.NO_COST_OF_A_SLOT}")
    if slots and made.reserve:
        raise ValueError(f"{place}: reserve: {checks.NO_RESERVE_OF_A_SLOT}")
    if slots and made.counts != "units":
        raise ValueError(f"{place}: counts: {checks.NO_COUNTS_OF_A_SLOT}")
    if made.hold and (slots or made.reserve):
        raise ValueError(f"{place}: hold: {checks.NO_HOLD_OF_A_SLOT if slots else checks.NO_HOLD_AHEAD}")
    on = "refund_on" if made.refund_on else "charge_on"
    if (made.refund_on or made.charge_on) and (slots or made.reserve):
        raise ValueError(f"{place}: {on}: {checks.NO_OUTCOME_OF_A_SLOT if slots else checks.NO_OUTCOME_AHEAD}")
    if made.refund_on and made.charge_on:
        raise ValueError(f"{place}: refund_on: {checks.NO_TWO_OUTCOMES}")
    _launch(place, made, launch)


def _launch(place: str, made: Any, launch: type) -> None:
    if made.launch is None:
        return
    if not isinstance(made.launch, launch):
        raise ValueError(f"{place}: launch: {shown(made.launch)} is no Launch")  # noqa: TRY004 - as all here
    if made.mode != "enforce" or made.enforce_from_ms:
        field = "enforce_from_ms" if made.enforce_from_ms else "mode"
        raise ValueError(f"{place}: {field}: {checks.BESIDE_LAUNCH}")


def matched(of: str, match: Mapping[str, Any]) -> Mapping[str, str | int]:
    """What callers have to have, numbers of names as an Identity has them."""
    for kind in match:
        _at(f"{of}: {kind}", _value, match[kind])
    numbers = [kind for kind in (*checks.KINDS, "tier") if type(match.get(kind)) is int]
    return {**match, **{kind: str(match[kind]) for kind in numbers}} if numbers else match


def override(made: Any) -> None:
    """An Override, but for whom it is."""
    maxes = made.maxes
    if not isinstance(maxes, Mapping):
        raise ValueError(f"Override: maxes: {shown(maxes)} is not a table of maxes by name of limit")  # noqa: TRY004
    for name, max_ in maxes.items():
        _at(f"Override: maxes: {name}", _formula, max_)
    # the store knows no later instant
    _at("Override: until_ms", checks.whole, made.until_ms, -checks.LARGEST, 2 * checks.LARGEST)
    _at("Override: from_ms", checks.whole, made.from_ms, 0, checks.LARGEST)
    if made.mode is not None:
        _at("Override: mode", checks.mode_of_override, made.mode)
    if made.limits and made.mode is None:
        raise ValueError("Override: limits: are those that a mode is for; write one, or a max of each in maxes")


def store_settings(prefix: Any, timeout_ms: Any, on_failure: Any, max_callers: Any) -> None:
    _at("StoreSettings: prefix", checks.text, prefix, checks.PREFIX)
    _at("StoreSettings: timeout_ms", _whole_duration, timeout_ms)
    _at("StoreSettings: on_failure", checks.on_failure, on_failure)
    store_bound("StoreSettings", max_callers)


def wait(up_to_ms: Any, queue: Any) -> None:
    _at("Wait: up_to_ms", lambda value: durations.wait_ms(_whole(value), shown(value)), up_to_ms)
    _at("Wait: queue", checks.whole, queue, 1, checks.LONGEST_QUEUE)


def websocket_settings(messages: Any, on_excess: Any) -> None:
    if messages is not None:
        _at("WebSocketSettings: messages", checks.text, messages)
        if wrong := checks.wrong_operation(messages, None):
            raise ValueError(f"WebSocketSettings: messages: {wrong}")
    _at("WebSocketSettings: on_excess", checks.on_excess, on_excess)


def reload_settings(watch: Any, refuse_above: Any) -> None:
    _at("ReloadSettings: watch", checks.boolean, watch)
    if isinstance(refuse_above, bool) or not isinstance(refuse_above, int | float) or not 0 <= refuse_above <= 1:
        raise ValueError(
            f"ReloadSettings: refuse_above: {shown(refuse_above)} is not a part of all; write 0.01 for 1 %"
        )


def store_bound(of: str, max_callers: Any) -> None:
    _at(f"{of}: max_callers", checks.whole, max_callers, 1, checks.LARGEST)


def _at(place: str, check: Callable[..., object], *values: Any) -> None:
    try:
        check(*values)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _whole_window(value: Any) -> None:
    durations.window_ms(_whole(value), shown(value))


def _whole_lease(value: Any) -> None:
    durations.lease_ms(_whole(value), shown(value))


def _whole_duration(value: Any) -> None:
    durations.duration_ms(_whole(value), shown(value))


def _whole(value: Any) -> int:
    return checks.whole(value, -checks.LARGEST, checks.LARGEST)


def _formula(value: Any) -> None:
    if not callable(value):
        example = f"lambda attributes: {value}" if isinstance(value, int) else 'lambda attributes: attributes["seats"]'
        raise ValueError(f"{shown(value)} is not a function of the caller's attributes; write {example}")  # noqa: TRY004


def _value(value: Any) -> None:
    if not isinstance(value, str | int) or (isinstance(value, str) and not value.strip()):
        raise ValueError(f"{shown(value)} matches nobody; write a text or a whole number")


def _per(value: Any) -> None:
    if not isinstance(value, tuple):
        example = value if isinstance(value, str) else "identity"
        raise ValueError(f"{shown(value)} is not a tuple of texts; write ({shown(example)},)")  # noqa: TRY004
    if not value:
        raise ValueError("is empty")
    for part in value:
        if not isinstance(part, str):
            raise ValueError(f"{shown(part)} is not a text in quotes")  # noqa: TRY004
    for _, wrong in checks.wrong_per(value):
        raise ValueError(wrong)


def _statuses(value: Any) -> None:
    if not isinstance(value, tuple):
        example = value if isinstance(value, str) else "5xx"
        raise ValueError(f"{shown(value)} is not a tuple of texts; write ({shown(example)},)")  # noqa: TRY004
    for one in value:
        checks.status(one)


def _operations(value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, Set):
        example = value if isinstance(value, str) else "search"
        raise ValueError(f"{shown(value)} is not a set of texts; write frozenset({{{shown(example)}}})")  # noqa: TRY004
    for name in value:
        checks.text(name)
        if wrong := checks.wrong_operation(name, None):
            raise ValueError(wrong)


def _cost(place: str, cost: Any, operations: Set[str] | None) -> None:
    if not isinstance(cost, Mapping):
        _at(place, checks.units, cost)
        return
    for name, units in cost.items():
        _at(place, checks.text, name)
        if wrong := checks.wrong_operation(name, operations):
            raise ValueError(f"{place}: {wrong}")
        _at(f"{place}: {name}", checks.units, units)
