"""What became of requests whose call was not answered in time: known later."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import TYPE_CHECKING

from ratelimit.model import Decision, StoreUnavailable
from ratelimit.stores.fallback.idempotency import NOT, IdempotencyKey, Receipt

if TYPE_CHECKING:
    from ratelimit.stores.batching.callers import Caller
    from ratelimit.stores.batching.pending import Outcome, Pending
    from ratelimit.stores.fallback.local import LocalLimiter


class Doubt:
    """Of one request in the call of a number. `charged_at` is told once: the instant (ms, by the store's clock) when
    the request was charged, NOT or NEVER_KNOWN."""

    __slots__ = ("_listener", "charged_at", "number")

    def __init__(self, number: bytes) -> None:
        self.number = number
        self.charged_at: int | None = None
        self._listener: Callable[[int], None] | None = None

    def tell(self, charged_at: int) -> None:
        self.charged_at = charged_at
        if listener := self._listener:
            self._listener = None
            listener(charged_at)

    def then(self, listener: Callable[[int], None]) -> None:
        """Call `listener` when it is known, or now if it is."""
        if self.charged_at is None:
            self._listener = listener
        else:
            listener(self.charged_at)


class InDoubt(StoreUnavailable):
    """The store may have decided, and may still do so: `fate` tells it later. Of a plain StoreUnavailable it is known
    that nothing was charged."""

    def __init__(self, why: str, doubt: Doubt) -> None:
        super().__init__(why)
        self.doubt = doubt


class CallDoubts:
    """Of one call that decides, where this process goes on by itself without a reply. `ticket` is the number by which
    the call can be asked about."""

    def __init__(self, local: LocalLimiter) -> None:
        self.ticket: IdempotencyKey | None = None
        self.late = False  # somebody has given up
        self.charged = False  # somebody
        self._local = local
        self._waiting: dict[object, Doubt] = {}  # of who has given up

    def give_up(self, call: Pending, why: str) -> StoreUnavailable:
        """What somebody is told who waits no longer."""
        self.late = True
        doubt = self._waiting[call.result] = Doubt(self.ticket.number if self.ticket else b"")
        return InDoubt(why, doubt)

    def saw(self, call: Pending, outcome: Outcome, now_ms: int) -> None:
        """The reply has come, perhaps too late. This process would go on from it by itself."""
        charged_at = NOT
        if isinstance(outcome, Decision):
            call.caller.seen = outcome
            charged_at = now_ms if outcome.allowed else NOT
            self.charged = self.charged or outcome.allowed
            if call.caller.caps and not call.result.done():
                self._local.held.saw(outcome)
        self.tell(call, charged_at)

    def tell(self, call: Pending, charged_at: int) -> None:
        if self._waiting and (doubt := self._waiting.pop(call.result, None)):
            doubt.tell(charged_at)

    def learn(self, calls: Iterable[Pending], mark: Receipt, given: Container[Caller]) -> None:
        """There will be no reply, but a marker tells. `given` are those who have got what they took ahead."""
        before = 0
        for call in calls:
            caller, charged_at = call.caller, mark.charged_at(before)
            self.tell(call, charged_at)
            ahead = mark.ahead.get(before)
            if ahead and self.ticket and caller not in given:
                self._local.give_back(caller.charges, ahead, charged_at, self.ticket.number)
            before += caller.term_set.size
