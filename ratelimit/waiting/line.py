"""Those of one caller who wait for the same limits, in the order in which they came, on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ratelimit.ground.loops import Loop
from ratelimit.ground.trio_loop import TrioLoop
from ratelimit.model import Charge, Concurrency, Decision


class Waiter:
    """One request. `until` is when it has waited for as long as its tier says, by the loop's clock."""

    __slots__ = ("_signal", "charges", "gone", "loop", "until")

    def __init__(self, loop: Loop, charges: Sequence[Charge], until: float) -> None:
        self.loop = loop
        self.charges = charges
        self.until = until
        self.gone = False  # its caller has hung up, or the server ends
        self._signal = _event(loop)

    def wake(self) -> None:
        """There may be news: it looks again. Of a loop that has ended nobody does."""
        with suppress(RuntimeError):
            self._signal.set()

    def leave(self) -> None:
        self.gone = True
        self.wake()

    async def woken(self, at: float) -> None:
        """By others, or at an instant of the loop's clock."""
        self._signal = _event(self.loop)
        timer = self.loop.call_at(at, self._signal.set)
        try:
            await self._signal.wait()
        finally:
            timer.cancel()


class Line:
    """`free_at` is when the first of them can be admitted, by what the store said last; by the loop's clock."""

    __slots__ = ("_denial", "_denied_at", "free_at", "waiters")

    def __init__(self) -> None:
        self.waiters: list[Waiter] = []

    def denied(self, denial: Decision, now: float) -> None:
        """What the store has said, to who stands first."""
        self._denial, self._denied_at = denial, now
        self.free_at = now + (wait_ms(denial) or 0) / 1_000
        for waiter in self.waiters:
            if waiter.until >= self.free_at:
                break
            waiter.wake()  # in vain: it need not wait to be told

    def leave(self, waiter: Waiter) -> None:
        """The next one looks whether it is its turn."""
        self.waiters.remove(waiter)
        if self.waiters:
            self.waiters[0].wake()

    def costs(self, charges: Sequence[Charge]) -> bool:
        """Whether what the store said last was of a request that costs the same."""
        return [charge.cost for charge in charges] == [state.charge.cost for state in self._denial.states]

    def can_admit(self, charges: Sequence[Charge]) -> bool:
        """Whether a request with these charges can pass at all."""
        states = self._denial.states
        return all(state.shadow or charge.cost <= state.max for state, charge in zip(states, charges, strict=True))

    def told(self, charges: Sequence[Charge], now: float) -> Decision:
        """The last denial as it is now, for a request with these charges that the store is not asked for."""
        after_ms = int((now - self._denied_at) * 1_000)
        states = [
            state._replace(
                charge=charge,
                reset_after_ms=max(0, state.reset_after_ms - after_ms),
                retry_after_ms=max(1, state.retry_after_ms - after_ms)
                if state.retry_after_ms
                else state.retry_after_ms,
            )
            for state, charge in zip(self._denial.states, charges, strict=True)
        ]
        return Decision(False, self._denial.now_ms + after_ms, tuple(states))


def wait_ms(decision: Decision) -> int | None:
    """How long a denied request would wait; None where that is not known: it can never pass, or waits for a slot, which
    frees when another request ends."""
    denying = decision.denying
    if denying is None or any(
        state.exceeded and not state.shadow and isinstance(state.limit.kind, Concurrency) for state in decision.states
    ):
        return None
    return denying.retry_after_ms


def _event(loop: Loop) -> Any:
    if isinstance(loop, TrioLoop):
        import trio

        return trio.Event()
    return asyncio.Event()
