"""A wait that is a little longer for each client: those that were denied together do not come back together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import random

from ratelimit.ground.words import shown
from ratelimit.model import Answer, Decision, Headers, Identity, Rate, State, Style

MOST = 0.03  # of a wait: what is told stays true, and nobody waits for nothing
LONGEST_MS = 60_000


@dataclass(frozen=True, slots=True)
class WithJitter:
    """Any style, whose waits for a rate are up to `part` longer, 0.03 at most, and a minute at most: `jitter = "3%"`.

    It is drawn once a denial, for all forms of the wait: Retry-After, the body, `t`, X-RateLimit-Reset. Only upwards,
    so that who waits as told is let through. A quota's wait is the calendar's, that for a slot a second: they stay.
    `style` has the fields of the IETF in it, if any: WithJitter(WithIetfHeaders(Lendworks())). ValueError for `part`.
    """

    style: Style
    part: float
    draw: Callable[[], float] = field(default=random, repr=False, compare=False)  # from 0 to 1

    def __post_init__(self) -> None:
        if type(self.part) not in {int, float} or not 0 <= self.part <= MOST:
            raise ValueError(f"part is from 0 to {MOST}, 3 % of a wait at most; it is {shown(self.part)}")

    @property
    def log_id_header(self) -> bytes | None:
        return self.style.log_id_header

    def headers(self, decision: Decision, identity: Identity, log_id: str) -> Headers:
        return self.style.headers(decision, identity, log_id)

    def denied(self, decision: Decision, identity: Identity, log_id: str) -> Answer:
        return self.style.denied(self.later(decision), identity, log_id)

    def unavailable(self, log_id: str) -> Answer:
        return self.style.unavailable(log_id)

    @property
    def refused(self) -> Callable[..., Answer] | None:
        """The style's own, if it has one."""
        return getattr(self.style, "refused", None)

    def later(self, decision: Decision) -> Decision:
        """The same denial with longer waits for its rates, if it is a rate that is waited for. All by one part: what
        denies for the longest time still does."""
        denying = decision.denying
        if denying is None or denying.retry_after_ms is None or not isinstance(denying.limit.kind, Rate):
            return decision
        part = self.part * self.draw()
        states = tuple([_later(state, part) for state in decision.states])
        return Decision(decision.allowed, decision.now_ms, states, decision.leases, decision.unavailable)


def _later(state: State, part: float) -> State:
    wait = state.retry_after_ms
    if not wait or state.shadow or not isinstance(state.limit.kind, Rate):  # 0 where nothing is exceeded
        return state
    return state._replace(retry_after_ms=wait + min(int(wait * part), LONGEST_MS))


def jittered(decision: Decision, style: Style) -> Decision:
    """As a style tells a denial elsewhere than in an answer of its own."""
    found = _within(style)
    return decision if found is None else found.later(decision)


def steady(style: Style) -> Style:
    """The style without it: what is documented is the same each time."""
    found = _within(style)
    return style if found is None else found.style


def _within(style: object) -> WithJitter | None:
    while style is not None and not isinstance(style, WithJitter):
        style = getattr(style, "style", None)
    return style
