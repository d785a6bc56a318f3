"""The seven nouns and the contracts between the rooms. Read this first.

An `Identity` makes an operation (a plain string). The policy turns both into `Charge`s, one for each `Limit`
that applies. A `Store` decides over all of them in one atomic step, and a `Style` tells its `Decision` to the client.

Time is in whole milliseconds. Instants are milliseconds since 1970 by the store's clock, everything else is a duration.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from ratelimit.checks import made
from ratelimit.checks import values as checks
from ratelimit.checks.caller import Identity as Identity  # the first noun has a file of its own: it checks its values
from ratelimit.launches.stages.launch import Launch as Launch

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

ANONYMOUS = "anonymous"  # the tier of callers without a known API key
FOREVER = checks.LARGEST  # the largest instant, and the largest max and cost: beyond it Lua's doubles lose units
IDENTITY_KINDS = checks.KINDS


@dataclass(frozen=True, slots=True)
class Rate:
    """`max` units in any interval of `window_ms`, counted in `precision` sub-windows."""

    window_ms: int
    precision: int = 60  # a minute's limit frees within 1 s

    def __post_init__(self) -> None:
        made.rate(self.window_ms, self.precision)


@dataclass(frozen=True, slots=True)
class Quota:
    """`max` units in a calendar period of `timezone`; a month begins on its `anchor_day`, a week on Monday."""

    period: Literal["day", "week", "month", "year"]
    timezone: str = "UTC"
    anchor_day: int = 1  # 31 is the last day of a short month

    def __post_init__(self) -> None:
        made.quota(self.period, self.timezone, self.anchor_day)


@dataclass(frozen=True, slots=True)
class Concurrency:
    """`max` requests at a time. A process that dies frees its slots within `lease_ms`."""

    lease_ms: int = 60_000

    def __post_init__(self) -> None:
        made.concurrency(self.lease_ms)


@dataclass(frozen=True, slots=True)
class Limit:
    """One rule of a tier. `max` is computed from the caller's attributes and nothing else, for it is remembered:
    `max({"registers": 3})` is 950 for `300 * registers + 50`. ValueError for what a policy file may not say either.
    """

    name: str
    kind: Rate | Quota | Concurrency
    max: Callable[[Mapping[str, str | int]], int]
    per: tuple[str, ...] = ("identity",)
    operations: frozenset[str] | None = None  # None: all; the listed ones count together; none: charged by hand only
    cost: int | Mapping[str, int] = field(default=1, hash=False)  # by operation; one that is not listed costs 1
    mode: Literal["enforce", "shadow", "off"] = "enforce"
    enforce_from_ms: int = 0  # before this instant the limit is in shadow
    reserve: bool = False  # a process may take units of it ahead, for callers too hot for a trip a request
    hold: bool = False  # units of it may be held and settled by the app, which learns late how many
    counts: Literal["units", "requests"] = "units"  # units: the cost times those that the endpoint computes
    refund_on: tuple[str, ...] = ()  # statuses, "304", or classes of them, "5xx": a request that comes to one is free
    charge_on: tuple[str, ...] = ()  # only a request that comes to one of these counts
    launch: Launch | None = None  # instead of mode and enforce_from_ms: from when on it is enforced, and for whom

    def __post_init__(self) -> None:
        made.limit(self, (Rate, Quota, Concurrency), Launch, slots=isinstance(self.kind, Concurrency))


@dataclass(frozen=True, slots=True)
class Charge:
    """A limit that applies to one request, and what the request takes from it.

    `key` names the counter, without the store's prefix: `{organization=acme}:requests:60000/60`. `maxes` holds the max
    until each of some instants, in their order; the last of them is FOREVER. `stages`, likewise, whether the limit is
    enforced for this caller; (): as its `mode` and `enforce_from_ms` say.
    """

    limit: Limit
    key: str
    cost: int
    maxes: tuple[tuple[int, int], ...]
    stages: tuple[tuple[int, bool], ...] = ()


class Readings(str):
    """The operations of a request that may be read as any of them. Each limit that one of them reaches is charged, at
    the highest cost. Its text is for the log; names of operations are ASCII, so it is none: `create·heavy_write`."""

    __slots__ = ("operations",)
    operations: tuple[str, ...]

    def __new__(cls, operations: tuple[str, ...]) -> Readings:
        made = super().__new__(cls, "·".join(operations))
        made.operations = operations
        return made

    def __reduce__(self) -> tuple[type[Readings], tuple[tuple[str, ...]]]:
        return Readings, (self.operations,)


class State(NamedTuple):
    """One limit after the decision."""

    charge: Charge
    max: int
    used: int
    reset_after_ms: int  # until the limit is whole again if nothing more is called
    window_ms: int  # of a rate its window, of a quota the length of the current period, of concurrency the lease
    exceeded: bool = False
    # Of what is exceeded: until the limit admits. Of what denies for the longest time: until the request passes, by all
    # limits as they will be then. None: it can never pass, as the cost is above the max, or will be before it frees.
    retry_after_ms: int | None = 0
    shadow: bool = False  # counted and reported, never denies, never shown to the client

    @property
    def limit(self) -> Limit:
        return self.charge.limit

    @property
    def remaining(self) -> int:
        """Units left; 0 also when a lowered max is already overdrawn."""
        left = self.max - self.used
        return left if left > 0 else 0  # noqa: FURB136 - max() takes twice as long

    @property
    def share(self) -> float:
        """The part of the max that remains."""
        return share(self.max, self.used)

    @property
    def wait(self) -> float:
        """`retry_after_ms`, in an order where "never" is the longest."""
        return float("inf") if self.retry_after_ms is None else self.retry_after_ms


def share(maximum: int, used: int) -> float:
    """The part of a max that remains."""
    return (maximum - used if maximum > used else 0) / max(1, maximum)


class Lease(NamedTuple):
    """A slot of a concurrency limit, or units of others, held while a request runs. `id` has 128 random bits; that of
    units also says which store holds them."""

    key: str
    id: str
    lease_ms: int
    max: int = FOREVER  # of the limit when the slot was given
    counters: tuple[str, ...] | None = None  # the keys that units were taken from; None: it is a slot


class LimitSet:
    """What is the same for all who have the same limits, while nothing of these changes: of each `cost`, `max`, the
    length of its window as in a State, and whether it is in shadow. Not to be changed, but for `made`: there a style
    keeps, under its own key, the bytes that it has made of this, which go when this goes.
    """

    __slots__ = ("costs", "limits", "made", "maxes", "rates", "shadows", "windows_ms")

    def __init__(
        self, charges: Sequence[Charge], maxes: Sequence[int], windows_ms: Sequence[int], shadows: Sequence[bool]
    ) -> None:
        self.limits = tuple([charge.limit for charge in charges])
        self.costs = tuple([charge.cost for charge in charges])
        self.maxes = tuple(maxes)
        self.windows_ms = tuple(windows_ms)
        self.shadows = tuple(shadows)
        kinds = enumerate(self.limits)
        self.rates = tuple([i for i, limit in kinds if isinstance(limit.kind, Rate) and not shadows[i]])  # where
        self.made: dict[object, Any] = {}


# Charges, their limits, what is used of each, and its `reset_after_ms`: the same object only while it says the same.
Numbers = tuple[Sequence[Charge], LimitSet, Sequence[int], Sequence[int]]


@dataclass(slots=True, eq=False)
class Decision:
    """The verdict over all limits of one request. The app finds it in `scope["ratelimit"]`. Not to be changed: callers
    share it.

    A store may make `states` where they are asked for, each time anew: a server keeps the scope of each connection's
    last request, and every object in it costs the garbage collector time. Equal is what says the same.
    """

    allowed: bool
    now_ms: int  # the store's clock at the decision
    states: tuple[State, ...] = ()  # in the order of the tier's limits, shadows included
    leases: tuple[Lease, ...] = ()
    unavailable: bool = False  # the store could not be reached; the policy's `on_failure` decided
    units: int = 1  # so often was each charge counted, for `refund`; 0 of a peek, and of what is held
    # Of each state the instant in whose sub-window or period it was counted; (): now_ms for all. A clock that went back
    # a little counts on in the newest sub-window, over midnight in the new day.
    counted_ms: tuple[int, ...] = ()
    hold: Hold | None = None  # where units are held
    limit_set: ClassVar[LimitSet | None] = None  # of `numbers`, where `now_ms` alone says their `reset_after_ms`
    used: ClassVar[Sequence[int]] = ()  # of each limit of the `limit_set`
    refunded: int = field(init=False, repr=False)  # of `units`; not there before the first refund

    @property
    def exceeded(self) -> bool:
        """Whether one of the limits is exceeded, be it one in shadow."""
        return any(state.exceeded for state in self.states)

    @property
    def notable(self) -> bool:
        """Whether the log tells of it: it denies, a limit in shadow is exceeded, or the store could not be reached."""
        return not self.allowed or self.unavailable or self.exceeded

    @property
    def denying(self) -> State | None:
        """The limit that denies: of several the longest wait, then a rate, then the smaller share remaining."""
        denying: tuple[State, ...] = ()
        for s in self.states:  # takes half as long as a list comprehension
            if s.exceeded and not s.shadow:
                denying += (s,)
        if len(denying) == 1:
            return denying[0]
        return max(denying, key=lambda s: (s.wait, isinstance(s.limit.kind, Rate), -s.share), default=None)

    @property
    def binding(self) -> State | None:
        """The rate that headers speak of: one that denies, then the longer wait, then the smaller share remaining."""
        rates: tuple[State, ...] = ()
        for s in self.states:
            if isinstance(s.charge.limit.kind, Rate) and not s.shadow:
                rates += (s,)
        return rates[0] if len(rates) == 1 else max(rates, key=lambda s: (s.exceeded, s.wait, -s.share), default=None)

    @property
    def numbers(self) -> Numbers | None:
        """What the states say, in their order, and none is made; None where only they say it. Nothing is exceeded."""
        return None

    def __eq__(self, other: object) -> bool:
        return _said(self) == _said(other) if isinstance(other, Decision) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.allowed, self.now_ms, self.leases, self.unavailable))

    def __reduce__(self) -> tuple[type[Decision], tuple[object, ...], tuple[None, dict[str, int]]]:
        """What is copied or pickled is a plain one, with its states."""
        return Decision, _said(self), (None, {"refunded": self.refunded} if hasattr(self, "refunded") else {})


_said = attrgetter("allowed", "now_ms", "states", "leases", "unavailable", "units", "counted_ms", "hold")


class Hold(NamedTuple):
    """Units that were counted and are not used yet. They go back one `lease.lease_ms` after the last renewal of `lease`
    if they are not settled."""

    lease: Lease
    charged: Decision  # what was counted, and where
    units: int  # times the cost of each charge


class Answer(NamedTuple):
    """A whole response. The middleware adds Content-Length and Cache-Control."""

    status: int
    headers: Headers
    body: bytes


class StoreUnavailable(Exception):
    """The store did not decide in time. Says why, without any credential."""


class Refused(Exception):
    """A request of which it can't be said who asks: an Identify raises it. It is answered, and nothing is charged."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code  # "invalid_request"
        self.message = message  # for the client: a sentence


# Both may be async. An Identify that returns None leaves the request to the policy's own. A Classify that returns None
# exempts it from every limit: what is to be limited has a name.
Identify = Callable[[Scope], Identity | Awaitable[Identity | None] | None]
Classify = Callable[[Scope], str | Awaitable[str | None] | None]


class Admitting(Protocol):
    """What a middleware needs of a store.

    Every method raises StoreUnavailable where the store can't be reached in time. A store that can be used on asyncio
    alone, as its connections are made for it, has `asyncio_only = True`. One whose `acquire` never waits has `at_once =
    True`: requests that came together are decided one after the other then, before the app has its turns.
    """

    def acquire(self, charges: Sequence[Charge]) -> Coroutine[Any, Any, Decision]:
        """Async. Check every charge by the store's clock, then apply all of them or none."""

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Prolong leases, and take slots again that are gone: units that are gone are not. Returns the slots that are
        above their max, and the leases of units that are gone from every counter: settled, or given back."""

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give slots back. Returns when that is on the wire, and does not wait for the reply.

        It takes effect also if the caller is cancelled at its first `await`, and twice is as good as once.
        """

    async def close(self) -> None:
        """Drop connections. A store that is used again opens them again."""


class Store(Admitting, Protocol):
    """Where counters live, the only place where state changes.

    `units` multiply the cost of each charge; a cost of 0 stays 0, and is never exceeded. ValueError, and nothing is
    done: for units that are no whole number, below 0 or, times a cost, from 2^53 on, and for a concurrency limit.
    """

    async def peek(self, charges: Sequence[Charge], units: int = 1) -> Decision:
        """What `acquire` would say now: `used` with these units. Writes nothing, and always asks the store. Of a
        concurrency limit, which may be there at a cost of 0, `used` is how many slots are held."""

    async def charge(self, charges: Sequence[Charge], units: int = 1) -> Decision:
        """Count what was used already, in each limit and also above its max, which the next requests pay for. Allowed
        whatever is used; limits in shadow count too. A counter holds 2^53 - 1 units at most: more is not counted."""

    async def refund(self, spent: Decision, units: int | None = None) -> None:
        """Give back what `acquire` or `charge` took, `units` of it or all: into the sub-window or period in which it
        was counted, never more than is there, and nothing where that is over.

        Of one Decision no more goes back than it took, however often it is asked; sent once at most, so that it may be
        lost, with the units counted. Nothing goes back of a denial, of a peek and of what was let through uncounted.
        Slots are released, not refunded. ValueError for a Decision whose units are held: these are settled.
        """

    async def hold(self, charges: Sequence[Charge], units: int, lease_ms: int) -> Decision:
        """`acquire`, of units that may be fewer or more in the end: `settle` its `hold`, and `renew` its lease while
        the work goes on. A hold that is neither renewed nor settled for `lease_ms` (1 s or more) goes back: the next
        request that looks at a counter gives what was taken from it back first, once. Where the clock went back that is
        as much later; back by a window, or a quota's period, it stays counted until it leaves.

        After a StoreUnavailable they may be held, for a lease. ValueError for 0 units, and for a limit without `hold`.
        """

    async def settle(self, hold: Hold, used: int) -> None:
        """Of the units of a hold so many were used: the rest goes back to where it was counted, what was used above
        them is charged now, also above the max. Counter by counter: where they went back already, or the store was
        flushed, all that was used is charged now. The first settle counts; that is known for four leases and an hour,
        so that it can be asked for again after a StoreUnavailable.

        ValueError for what is no Hold of this store; then it can still be settled.
        """

    async def reset(self, keys: Sequence[str]) -> int:
        """Forget counters, of every kind, and what is held of them; by their `Charge.key`. Returns how many there were.
        Slots that are held are taken again as they are renewed; a settle then charges what was used. For a second at
        most other processes tell denials that they remember and spend units that they took ahead (`reserve`)."""


class Style(Protocol):
    """How a Decision is told to the client. `log_id` is the id of this request in the log.

    A method that has a parameter `scope` is given the scope of the request. There may be one method more,
    `refused(status, code, message, log_id) -> Answer`, for a request that is answered before anything is charged: 400
    "invalid_request" for the API keys of two callers. Without it, that is told in plain JSON.
    """

    @property
    def log_id_header(self) -> bytes | None:
        """The header that carries the log id, in lower case; None where the style has none: then it may be empty."""

    def headers(self, decision: Decision, identity: Identity, log_id: str) -> Headers:
        """What an allowed response carries besides the app's own headers."""

    def denied(self, decision: Decision, identity: Identity, log_id: str) -> Answer:
        """The 429, or the 403 of what can never pass."""

    def unavailable(self, log_id: str) -> Answer:
        """The 503 of a policy that denies while its store is out of reach."""
