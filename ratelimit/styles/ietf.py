"""The RateLimit and RateLimit-Policy fields of the IETF, alone or beside any other style's headers.

draft-ietf-httpapi-ratelimit-headers-11, serialised as Lists of RFC 9651; problem details are RFC 9457:

    RateLimit-Policy: "requests";q=100;w=60, "monthly";q=50000;w=2678400, "in flight";q=10;qu="concurrent-requests"
    RateLimit: "requests";r=50;t=30, "monthly";r=49950;t=1036800, "in flight";r=9
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from ratelimit.model import Answer, Concurrency, Decision, Headers, Identity, State, Style
from ratelimit.styles import wire

CONTENT_TYPE_PROBLEM = (b"content-type", b"application/problem+json")
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
LARGEST_INTEGER = 999_999_999_999_999  # RFC 9651 section 3.3.1: 15 digits; a max may have 16


@dataclass(frozen=True, slots=True)
class Ietf:
    """Both fields on every response; a 429 is a `quota-exceeded` problem that names the limits that deny.

    `max_retry_after`, in seconds, caps Retry-After and the `t` of what denies; `never` is the status of a request that
    can never pass.
    """

    max_retry_after: int = wire.MAX_RETRY_AFTER
    never: int = 403

    log_id_header: ClassVar[bytes | None] = None

    def __post_init__(self) -> None:
        wire.check_options(self.max_retry_after, self.never)

    def headers(self, decision: Decision, identity: Identity, log_id: str) -> Headers:
        return fields(decision)

    @wire.made_once
    def denied(self, decision: Decision, identity: Identity, log_id: str) -> Answer:
        state = wire.denied_by(decision)
        wait, most, status = state.retry_after_ms, self.max_retry_after, 429
        if wait is None:
            detail, status = wire.can_never_pass(state.charge.cost, state.max), self.never
        else:
            detail = f"Try again in {wire.wait(wait, most)} seconds."
        violated = tuple([s.limit.name for s in decision.states if s.exceeded and not s.shadow])
        headers = [CONTENT_TYPE_PROBLEM, *wire.retry_after(wait, most), *fields(decision, most)]
        return Answer(status, headers, _problem(status, detail, violated))

    def unavailable(self, log_id: str) -> Answer:
        # Not the draft's temporary-reduced-capacity: that one names the limits in the way, and here none is.
        problem = {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": "Rate limits cannot be checked right now. Try again in 1 seconds.",
        }
        return Answer(503, [CONTENT_TYPE_PROBLEM, wire.RETRY_IN_A_SECOND], wire.compact_json(problem))

    def refused(self, status: int, code: str, message: str, log_id: str) -> Answer:
        problem = {"type": "about:blank", "title": wire.phrase(status), "status": status, "detail": message}
        return Answer(status, [CONTENT_TYPE_PROBLEM], wire.compact_json({**problem, "code": code}))


@dataclass(frozen=True, slots=True)
class WithIetfHeaders:
    """Any style, with the two fields added to its allowed responses and denials: `ietf_headers = true`.

    They show every enforced limit to every caller, also where the style keeps thresholds to itself. The `t` of what
    denies is capped as the style's own Retry-After is.
    """

    style: Style

    @property
    def log_id_header(self) -> bytes | None:
        return self.style.log_id_header

    def headers(self, decision: Decision, identity: Identity, log_id: str) -> Headers:
        return self._with_fields(self.style.headers(decision, identity, log_id), decision)

    def denied(self, decision: Decision, identity: Identity, log_id: str) -> Answer:
        answer = self.style.denied(decision, identity, log_id)
        most = getattr(self.style, "max_retry_after", wire.MAX_RETRY_AFTER)
        return answer._replace(headers=self._with_fields(answer.headers, decision, most))

    def unavailable(self, log_id: str) -> Answer:
        return self.style.unavailable(log_id)

    @property
    def refused(self) -> Callable[..., Answer] | None:
        """The style's own, if it has one."""
        return getattr(self.style, "refused", None)

    def _with_fields(self, headers: Headers, decision: Decision, most: int = wire.MAX_RETRY_AFTER) -> Headers:
        # A List field that is sent twice is one longer List: each limit would be in it twice.
        return headers if isinstance(self.style, Ietf) else [*headers, *fields(decision, most)]


def fields(decision: Decision, most: int = wire.MAX_RETRY_AFTER) -> Headers:
    """`RateLimit-Policy` and `RateLimit` over all enforced limits, in the order of the tier; nothing without any.

    A wait is told as `most` seconds at most. When a limit that does not deny is whole again is no wait, and stays true.
    """
    policies, limits = [], []
    never = not decision.allowed and any(
        s.exceeded and s.retry_after_ms is None and not s.shadow for s in decision.states
    )
    for state in decision.states:
        if not state.shadow:
            limit = state.charge.limit
            timed = not isinstance(limit.kind, Concurrency)
            policies.append(_policy(limit.name, state.max, state.window_ms if timed else None))
            limits.append(_service_limit(limit.name, state, most, timed=not never and (timed or state.exceeded)))
    return [(b"ratelimit-policy", b", ".join(policies)), (b"ratelimit", b", ".join(limits))] if policies else []


@lru_cache(maxsize=256)  # a caller that floods is told the same for a second
def _problem(status: int, detail: str, violated: tuple[str, ...]) -> bytes:
    return wire.compact_json(
        {
            "type": QUOTA_EXCEEDED,
            "title": "Request cannot be satisfied as assigned quota has been exceeded",
            "status": status,
            "detail": detail,
            "violated-policies": violated,
        }
    )


@lru_cache(maxsize=4096)  # as many different maxes at a time as are remembered
def _policy(name: str, maximum: int, window_ms: int | None) -> bytes:
    """Without a window: so many requests at a time."""
    quota = min(maximum, LARGEST_INTEGER)
    if window_ms is None:
        return b'%b;q=%d;qu="concurrent-requests"' % (_sf_string(name), quota)
    return b"%b;q=%d;w=%d" % (_sf_string(name), quota, _sf_seconds(window_ms))


def _service_limit(name: str, state: State, most: int, *, timed: bool) -> bytes:
    """`t` is the time within which no more than `r` may be used: until a denied request passes, else until the limit is
    whole again.

    It is left out where no time is true: of a request that can never pass, and of concurrency that does not deny, where
    a client that spread its `r` requests over `t` would wait for nothing.
    """
    remaining = min(state.remaining, LARGEST_INTEGER)
    if not timed:
        return b"%b;r=%d" % (_sf_string(name), remaining)
    time = wire.wait(state.retry_after_ms or 0, most) if state.exceeded else _sf_seconds(state.reset_after_ms)
    return b"%b;r=%d;t=%d" % (_sf_string(name), remaining, time)


def _sf_seconds(duration_ms: int) -> int:
    return min(wire.seconds(duration_ms), LARGEST_INTEGER)


@lru_cache(maxsize=1024)  # the names of a policy's limits, not anything a caller sends
def _sf_string(text: str) -> bytes:
    """RFC 9651 section 4.1.6. A policy file has printable names only; in a Limit made by hand the rest becomes "?"."""
    printable = "".join(c if " " <= c <= "~" else "?" for c in text)
    return b'"%b"' % printable.replace("\\", "\\\\").replace('"', '\\"').encode("ascii")
