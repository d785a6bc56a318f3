"""What is sent of a call of lua/acquire, and what its reply says. The script says what both are made of."""

from __future__ import annotations

from asyncio import InvalidStateError
from collections.abc import Sequence

from ratelimit.model import FOREVER, Decision, State
from ratelimit.stores.batching.callers import SentTerms
from ratelimit.stores.batching.pending import Pending
from ratelimit.stores.connection.socket import NUMBERS, bulk
from ratelimit.stores.counting.allowed import admitted
from ratelimit.stores.lua.scripts import Scripts

OUTSIDE, DENIED, PLAIN, TOLD = -1, 0, 1, 2  # the last is allowed with something to say
_NO_NUMBER = bulk("")
FEW = 2  # requests whose reply is read as fast in turn as by columns


class Arguments:
    """Request by request: each puts its keys into `keys`, after `begin` where its terms are not `term_set`, the latest,
    and before `add` where it has more to say. `size` is how many charges each has; 0 where not all have as many, or one
    may be told more than what is used."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.term_set: SentTerms | None = None
        self.size: int | None = None
        self._number = b""  # of the latest terms
        self._numbers: dict[bytes, bytes] = {}  # by what is sent of terms
        self._callers: list[bytes] = []
        self._listed = 0  # requests that are in `_callers`
        self._key_count = 0
        self._count = 2  # of ARGV

    def begin(self, term_set: SentTerms) -> None:
        if self.term_set:
            self._list()
        number = self._numbers.get(term_set.wire)
        if number is None:
            number = self._numbers[term_set.wire] = NUMBERS[len(self._numbers) + 1]
            self._count += term_set.parts
        self.term_set, self._number = term_set, number
        self.size = term_set.size if self.size is None or self.size == term_set.size else 0

    def add(self, more: Sequence[bytes]) -> None:
        """Behind the number of the latest request's terms."""
        self._list()
        self._callers += more
        self._count += len(more)
        self.size = 0

    def command(self, scripts: Scripts, receipt: tuple[str, bytes] | None, *, text: bool) -> bytes:
        self._list()
        marker, number = ([bulk(receipt[0])], bulk(receipt[1])) if receipt else ([], _NO_NUMBER)
        head = scripts.acquire.head(self._key_count + len(marker), self._count, text=text)
        return b"".join(
            [head, *self.keys, *marker, number, NUMBERS[len(self._numbers)], *self._numbers, *self._callers]
        )

    def _list(self) -> None:
        """Those that have come since: all have the latest terms, so that this is done once for all of them."""
        if self.term_set and (more := len(self.keys) - self._listed):
            self._callers.append(self._number * more)
            self._key_count += self.term_set.keys * more
            self._count += more
            self._listed += more


def all_plain(reply: Sequence[int], number: int, size: int) -> bool:
    """Whether so many requests, each of so many charges, were let through with nothing to say: the usual reply."""
    step = 1 + size
    return len(reply) == 1 + number * step and reply[1::step].count(PLAIN) == number


def tell_plain(
    calls: Sequence[Pending], terms: Sequence[SentTerms], reply: Sequence[int], size: int, now_ms: int
) -> None:
    """Tell each of such a reply, which is read by columns: a third of the bytecodes that reading it in turn takes."""
    columns = [reply[2 + c :: 1 + size] for c in range(size)]
    rows = zip(*columns, strict=True)
    for (result, caller, _, _), term_set, used in zip(calls, terms, rows, strict=True):
        try:  # noqa: SIM105 - costs nothing, and to ask whether somebody waits a sixth of the loop
            result.set_result(admitted(caller.charges, term_set, now_ms, (), used))
        except InvalidStateError:
            pass


def full(call: Pending, term_set: SentTerms, now_ms: int, verdict: int, said: Sequence[int]) -> Decision:
    """Denied, or allowed with something to say: four numbers a charge."""
    allowed = verdict == TOLD
    if verdict not in (DENIED, TOLD) or min(said) < -1 or max(said) > FOREVER:
        raise ValueError("a number that is none of ours")
    _, caller, _, extras = call
    states = list[State]()
    counted_ms: tuple[int, ...] = ()
    for c, (charge, term) in enumerate(zip(caller.charges, term_set.terms, strict=True)):
        exceeded, used, reset_after, later = said[4 * c : 4 * c + 4]
        wait = (None if later < 0 else later) if exceeded else 0
        counted_ms += (now_ms if exceeded else now_ms + later,)
        states.append(State(charge, term.max, used, reset_after, term.length_ms, exceeded == 1, wait, term.shadow))
    if allowed is any(state.exceeded and not state.shadow for state in states):
        raise ValueError("a denial by no limit, or none by one that is exceeded")
    over = {state.charge.key for state in states if state.exceeded}
    leases = extras.leases if extras and allowed else ()
    held = tuple([lease for lease in leases if lease.key not in over])
    now = (now_ms,) * len(states)
    return Decision(allowed, now_ms, tuple(states), held, counted_ms=counted_ms if counted_ms != now else ())
