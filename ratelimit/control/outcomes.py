"""Limits that count by what a request came to, `charge_on` and `refund_on`: units are taken first, and given back when
the status is known. Until then nobody knows whether they will stay."""

from __future__ import annotations

from collections.abc import Callable

from ratelimit.model import Concurrency, Decision, Limit, State

SOON_MS = 1_000  # what a denial says to wait for while units may still come back


def conditional(limit: Limit) -> bool:
    """Whether a request's status says if it counts."""
    return bool(limit.charge_on or limit.refund_on)


def any_units(limit: Limit) -> bool:
    return not isinstance(limit.kind, Concurrency)


def counts(limit: Limit, status: int) -> bool:
    """Whether a request with this status counts in a limit."""
    if limit.charge_on:
        return _among(limit.charge_on, status)
    return not _among(limit.refund_on, status)


def _among(statuses: tuple[str, ...], status: int) -> bool:
    return f"{status}" in statuses or f"{status // 100}xx" in statuses


class Pending:
    """Counters of this process with units that may go back, by their keys. No lock: a request may be ended by the
    garbage collector, in the middle of anything. The worst of a race is that one wait is told as it is."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[str, set[object]] = {}

    def add(self, decision: Decision, of: Callable[[Limit], bool] = conditional) -> Waiting | None:
        """A request whose status, or caller, is not known yet; None where nothing can go back."""
        keys = [
            state.charge.key
            for state in (() if decision.unavailable else decision.states)
            if of(state.limit) and state.charge.cost and not state.exceeded
        ]
        if not keys:
            return None
        waiting = Waiting(self, keys)
        for key in keys:
            self._of.setdefault(key, set()).add(waiting)
        return waiting

    def discard(self, waiting: Waiting, keys: list[str]) -> None:
        for key in keys:
            those = self._of.get(key, set())
            those.discard(waiting)
            if not those:
                self._of.pop(key, None)

    def soon(self, denied: Decision, own: object = None) -> Decision:
        """A denial as it is told: where units of what denies may come back, to be asked for again in a second. Those of
        the request itself, `own`, it would take again."""
        states = tuple([self._soon(state, own) for state in denied.states])
        if states == denied.states:
            return denied
        return Decision(False, denied.now_ms, states, unavailable=denied.unavailable)

    def _soon(self, state: State, own: object) -> State:
        wait = state.retry_after_ms
        if state.exceeded and wait is not None and wait > SOON_MS:
            those = self._of.get(state.charge.key, ())
            if len(those) > (own in those):
                return state._replace(retry_after_ms=SOON_MS)
        return state


class Waiting:
    """A request that waits for its status."""

    __slots__ = ("_keys", "_pending")

    def __init__(self, pending: Pending, keys: list[str]) -> None:
        self._pending = pending
        self._keys = keys

    def over(self) -> None:
        self._pending.discard(self, self._keys)
