"""What a request took and has not given back: no unit of it goes back twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ratelimit.model import Concurrency, Decision, State


class Taken:
    """By counter. Of what was let through uncounted there is nothing."""

    __slots__ = ("_decision", "_left")

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        self._left = {
            state.charge.key: state.charge.cost
            for state in (() if decision.unavailable else decision.states)
            if state.charge.cost and not (state.exceeded or isinstance(state.limit.kind, Concurrency))
        }

    def give_back(self, units: int | None, of: Callable[[State], bool]) -> Decision | None:
        """The part of the decision that is to be refunded, at most so many units of each of these limits, or all; None
        where that is nothing. From now on they have gone back."""
        decision = self._decision
        counted_ms = decision.counted_ms or (decision.now_ms,) * len(decision.states)
        states: list[State] = []
        instants: list[int] = []
        for state, at_ms in zip(decision.states, counted_ms, strict=True):
            left = self._left.get(state.charge.key, 0)
            given = left if units is None else min(units, left)
            if given and of(state):
                self._left[state.charge.key] = left - given
                states.append(state._replace(charge=replace(state.charge, cost=given)))
                instants.append(at_ms)
        return Decision(True, decision.now_ms, tuple(states), counted_ms=tuple(instants)) if states else None
