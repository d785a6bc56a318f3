"""What became of requests whose call was not answered in time: known later."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from typing import TYPE_CHECKING

from ratelimit.model import Charge, Decision, StoreUnavailable
from ratelimit.stores.fallback.idempotency import NEVER_KNOWN, NOT, IdempotencyKey, Receipt

if TYPE_CHECKING:  # who counts in memory alone has no redis-py
    from ratelimit.stores.batching.callers import Caller
    from ratelimit.stores.batching.pending import Outcome, Pending


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
    """The store may have decided, and may still do so: `doubt` tells it later. Of a plain StoreUnavailable it is known
    that nothing was charged."""

    def __init__(self, why: str, doubt: Doubt) -> None:
        super().__init__(why)
        self.doubt = doubt


class CallDoubts:
    """Of one call that decides; its Witness. `receipt` is by what the call can be asked about, `slots_seen` is told of
    decisions that nobody has got, `give_back` of what was taken ahead for nobody."""

    def __init__(
        self,
        slots_seen: Callable[[Decision], None],
        give_back: Callable[[Sequence[Charge], int, int, bytes], None],
    ) -> None:
        self.receipt: IdempotencyKey | None = None
        self._slots_seen = slots_seen
        self._give_back = give_back
        self._waiting: dict[object, Doubt] = {}  # of who has given up

    def gave_up(self, call: Pending, why: str) -> StoreUnavailable:
        """What somebody is told who waits no longer."""
        doubt = self._waiting[call[0]] = Doubt(self.receipt.number if self.receipt else b"")
        return InDoubt(why, doubt)

    def saw(self, call: Pending, outcome: Outcome, now_ms: int) -> None:
        """The reply has come, perhaps too late. This process would go on from it by itself."""
        charged_at = NOT
        result, caller, _, _ = call
        if isinstance(outcome, Decision):
            (caller.plain or caller).seen = outcome
            charged_at = now_ms if outcome.allowed else NOT
            if caller.caps and not result.done():
                self._slots_seen(outcome)
        self._tell(result, charged_at)

    def failed(self, call: Pending, *, in_doubt: bool) -> None:
        self._tell(call[0], NEVER_KNOWN if in_doubt else NOT)

    def learn(self, calls: Iterable[Pending], receipt: Receipt, given: Container[Caller]) -> None:
        """There will be no reply, but a marker tells. `given` are those who have got what they took ahead."""
        before = 0
        for result, caller, _, _ in calls:
            charged_at = receipt.charged_at(before)
            self._tell(result, charged_at)
            ahead = receipt.ahead.get(before)
            if ahead and self.receipt and caller not in given:
                self._give_back(caller.charges, ahead, charged_at, self.receipt.number)
            before += caller.term_set.keys

    def _tell(self, result: object, charged_at: int) -> None:
        if self._waiting and (doubt := self._waiting.pop(result, None)):
            doubt.tell(charged_at)
