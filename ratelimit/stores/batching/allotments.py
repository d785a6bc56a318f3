"""Units that a process takes ahead for one caller and spends without a trip to the store.

They die with the sub-window in which they were counted: then every unit is spent in that which it is charged to, and no
window ever holds more than max, over any number of processes. What is left then goes back.
"""

from __future__ import annotations

from ratelimit.model import Decision, Numbers, State
from ratelimit.stores.counting.allowed import rate_of
from ratelimit.stores.counting.terms import new


class Allotment:
    """Units of one caller. `sent` and `now` are seconds of `time.monotonic`, which never jumps.

    `decision` is that of the request with which it was charged, and counts all of it as used. `for_ms` is how long the
    sub-window went on, by the store's clock when it decided.
    """

    __slots__ = ("_arrived", "_decision", "deadline", "left", "number")

    def __init__(self, units: int, decision: Decision, for_ms: int, *, sent: float, arrived: float) -> None:
        self.left = units
        # From before it was sent, less a thousandth for clocks that do not run alike and 1 ms for the rounding of both.
        self.deadline = sent + (for_ms - for_ms / 1000 - 1) / 1000
        self._decision = decision
        self._arrived = arrived
        self.number = b""  # of the call that charged it, where calls are numbered

    @property
    def charged_at_ms(self) -> int:
        return self._decision.now_ms

    def alive(self, now: float) -> bool:
        return self.left > 0 and now < self.deadline

    def spend(self, now: float) -> Decision | None:
        """A unit for a request that is let through without an `await` in between; None if there is none any more."""
        if not self.alive(now):
            return None
        self.left -= 1
        return self.decision(now)

    def decision(self, now: float) -> Decision:
        return AllotmentDecision(self._decision, int((now - self._arrived) * 1000), self.left)

    def counts_in(self, decision: Decision) -> None:
        """A later one of the same call: what is used goes on from there."""
        self._decision = decision

    def take_back(self) -> int:
        """What is left, for the store: nobody can spend it any more."""
        left, self.left = self.left, 0
        return left


class AllotmentDecision(Decision):
    """On a unit taken ahead: the decision with which it was charged, some time later, with `unspent` units left."""

    __slots__ = ("_elapsed_ms", "_of", "_unspent")

    exceeded = notable = False  # nothing was: units are taken ahead for who is let through
    units, counted_ms, hold = 1, (), None

    def __init__(self, of: Decision, elapsed_ms: int, unspent: int) -> None:
        self.allowed = True
        self.now_ms = of.now_ms + elapsed_ms
        self.leases = ()
        self.unavailable = False
        self._of = of
        self._elapsed_ms = elapsed_ms
        self._unspent = unspent

    @property
    def states(self) -> tuple[State, ...]:  # type: ignore[override]
        return _later(self._of, self._elapsed_ms, self._unspent)

    @property
    def numbers(self) -> Numbers | None:
        of, elapsed, unspent = self._of.numbers, self._elapsed_ms, self._unspent
        if of is None:
            return None
        charges, limits, used, resets = of
        used = [one - unspent * cost for one, cost in zip(used, limits.costs, strict=True)]
        return charges, limits, used, [reset - elapsed if reset > elapsed else 0 for reset in resets]

    @property
    def binding(self) -> State | None:
        numbers = self.numbers
        return super().binding if numbers is None else rate_of(numbers)


class Demand:
    """How many requests of a caller this process sees in a sub-window."""

    __slots__ = ("_before", "_deadline", "_ends_ms", "_lasts_ms", "count")

    def __init__(self, lasts_ms: int) -> None:
        self._lasts_ms = lasts_ms
        self._ends_ms = 0  # of the sub-window that was charged last, by the store's clock
        self._deadline = float("-inf")  # the same by ours
        self._before = 0  # requests in the sub-window before it
        self.count = 0  # requests in it

    def wanted(self, now: float) -> int:
        """Units to ask for: as many as a sub-window ago, or as many again as in this one; 0 for a slow caller."""
        if now < self._deadline:
            return max(self.count, self._before - self.count)
        return max(0, self.count - 1) if now < self._deadline + self._lasts_ms / 1000 else 0

    def charged(self, ends_ms: int, deadline: float) -> None:
        """The store has charged a request to the sub-window that ends then."""
        if ends_ms != self._ends_ms:
            self._before = self.count if ends_ms < self._ends_ms + 2 * self._lasts_ms else 0
            self.count = 0
        self._ends_ms, self._deadline = ends_ms, deadline
        self.count += 1


def later(decision: Decision, elapsed_ms: int) -> Decision:
    """A decision some time after it was made."""
    states = _later(decision, elapsed_ms)
    return Decision(decision.allowed, decision.now_ms + elapsed_ms, states)


def _later(decision: Decision, elapsed_ms: int, unspent: int = 0) -> tuple[State, ...]:
    """Less what was charged with it and is not spent."""
    states = []
    for charge, maximum, used, reset_after, window, exceeded, wait, shadow in decision.states:
        used -= unspent * charge.cost
        left = reset_after - elapsed_ms if reset_after > elapsed_ms else 0
        still = wait and wait - elapsed_ms
        states.append(new(State, (charge, maximum, used, left, window, exceeded, still, shadow)))
    return tuple(states)
