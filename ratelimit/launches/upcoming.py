"""The header of a limit that is launched: it tells a client that it will soon be denied, while it is not yet.

    Upcoming-RateLimit: "requests";u=87;from=@1798761600, "searches";u=100;over

A List of RFC 9651: of each limit in shadow that is used beyond `warn` of its max, `u` is how much of that in percent,
`over` that this request would have been denied, `from` the instant from which on it is. No max is told: some styles
keep those to themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from ratelimit.launches.running import launched
from ratelimit.model import Answer, Decision, Headers, Identity, LimitSet, State, Style
from ratelimit.policy import Policy
from ratelimit.styles.fields import sf_string

HEADER = b"upcoming-ratelimit"


def with_upcoming(style: Style, policy: Policy) -> Style:
    """The style, with the header where a launch of the policy has `warn`."""
    warns = any(limit.launch and limit.launch.warn is not None for limit in launched(policy))
    return WithUpcoming(style) if warns else style


@dataclass(frozen=True, slots=True)
class WithUpcoming:
    """Any style, with the header added to its allowed responses and denials: the one place where a shadow shows."""

    style: Style

    @property
    def log_id_header(self) -> bytes | None:
        return self.style.log_id_header

    def headers(self, decision: Decision, identity: Identity, log_id: str) -> Headers:
        return [*self.style.headers(decision, identity, log_id), *upcoming(decision)]

    def denied(self, decision: Decision, identity: Identity, log_id: str) -> Answer:
        answer = self.style.denied(decision, identity, log_id)
        return answer._replace(headers=[*answer.headers, *upcoming(decision)])

    def unavailable(self, log_id: str) -> Answer:
        return self.style.unavailable(log_id)

    @property
    def refused(self) -> Callable[..., Answer] | None:
        """The style's own, if it has one."""
        return getattr(self.style, "refused", None)


def upcoming(decision: Decision) -> Headers:
    numbers = decision.numbers
    if numbers is not None:  # nothing is exceeded, and nearly always nothing is to be told: no State is made
        _, limits, used, _ = numbers
        from_which: list[tuple[int, float]] | None = limits.made.get(upcoming)
        if from_which is None:
            from_which = limits.made[upcoming] = _from_which(limits)
        if all(used[c] < least for c, least in from_which):
            return []
    told = [_told(state, decision.now_ms) for state in decision.states if state.shadow and _warns(state)]
    return [(HEADER, b", ".join(told))] if told else []


def _from_which(limits: LimitSet) -> list[tuple[int, float]]:
    """Of each limit in shadow that warns where it is, and from how many units on."""
    rows = zip(limits.limits, limits.maxes, limits.shadows, strict=True)
    return [
        (c, limit.launch.warn * most)
        for c, (limit, most, shadow) in enumerate(rows)
        if shadow and limit.launch is not None and limit.launch.warn is not None
    ]


def _warns(state: State) -> bool:
    launch = state.charge.limit.launch
    return launch is not None and launch.warn is not None and (state.exceeded or state.used >= launch.warn * state.max)


def _told(state: State, now_ms: int) -> bytes:
    used = 100 if state.exceeded or state.used >= state.max else state.used * 100 // state.max
    over = b";over" if state.exceeded else b""
    begins = next((since for since, enforced in _steps(state) if enforced and since > now_ms), None)
    begin = b"" if begins is None else b";from=@%d" % -(-begins // 1000)
    return b"%b;u=%d%b%b" % (sf_string(state.limit.name), used, over, begin)


def _steps(state: State) -> list[tuple[int, bool]]:
    """From when on each stage holds."""
    stages = state.charge.stages
    return [(since, enforced) for (since, _), (_, enforced) in pairwise(stages)]
