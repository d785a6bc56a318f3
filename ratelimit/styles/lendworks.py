"""LendWorks: a list of errors with details, four X-RateLimit headers, and a code of its own for quotas."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from ratelimit.model import Answer, Concurrency, Decision, Headers, Identity, Quota, Rate, State
from ratelimit.styles import wire

NOBODY = (None, None, None, None)  # organization, user, API key and application of an anonymous caller
ADVERBS = {"day": "Daily", "week": "Weekly", "month": "Monthly", "year": "Yearly"}


@dataclass(frozen=True, slots=True)
class Lendworks:
    """The style of the LendWorks API, as its page "Rate Limits" documents it.

    `request_id` adds `"meta":{"requestId":…}` with the log id to error bodies. `max_retry_after`, in seconds, caps the
    Retry-After header alone, for clients that would sleep through a month: the documented monthly 429 says 86400. The
    body goes on telling the truth.

    On a 429 by a rate, `X-RateLimit-Reset` and `resetAt` are one instant, the first whole second at which the request
    passes, and `Retry-After` as well as `retryAfter` is the wait in seconds, rounded up. Callers without an API key get
    `Retry-After` and none of the X-RateLimit headers.
    """

    request_id: bool = False
    max_retry_after: int | None = None

    log_id_header: ClassVar[bytes | None] = None

    def __post_init__(self) -> None:
        if self.max_retry_after is not None and self.max_retry_after < 1:
            raise ValueError(f"max_retry_after is a number of seconds, at least 1; it is {self.max_retry_after}")

    def headers(self, decision: Decision, identity: Identity, log_id: str) -> Headers:
        rate = None if identity[:4] == NOBODY else decision.binding  # `anonymous`, without a call
        if rate is None:
            return []
        return [
            wire.limit_header(rate.max),
            (b"x-ratelimit-remaining", b"%d" % (rate.max - rate.used if rate.max > rate.used else 0)),
            (b"x-ratelimit-reset", b"%d" % -((-decision.now_ms - rate.reset_after_ms) // 1000)),
            _window(rate.window_ms),
        ]

    def denied(self, decision: Decision, identity: Identity, log_id: str) -> Answer:
        state = wire.denied_by(decision)
        headers = [wire.CONTENT_TYPE_JSON]
        if state.retry_after_ms is not None:
            wait = wire.seconds(state.retry_after_ms)
            headers.append((b"retry-after", b"%d" % min(wait, self.max_retry_after or wait)))
        if not identity.anonymous:
            headers += _limits(decision, state)
        error = {
            "code": _code(state.limit.kind),
            "message": _message(state),
            "detail": _detail(decision, state, identity),
        }
        return Answer(429, headers, self._body(error, log_id))

    def unavailable(self, log_id: str) -> Answer:
        error = {
            "code": "SERVICE_UNAVAILABLE",
            "message": "Rate limits cannot be checked right now. Try again in 1 seconds.",
            "detail": {"retryAfter": 1},
        }
        return Answer(503, [wire.CONTENT_TYPE_JSON, wire.RETRY_IN_A_SECOND], self._body(error, log_id))

    def _body(self, error: dict[str, Any], log_id: str) -> bytes:
        envelope: dict[str, Any] = {"errors": [error]}
        if self.request_id:
            envelope["meta"] = {"requestId": log_id}
        return wire.compact_json(envelope)


def _limits(decision: Decision, denying: State) -> Headers:
    rate = decision.binding
    if rate is None:
        return []
    return [*wire.x_ratelimit(rate, wire.reset_at_ms(decision, rate, denying)), _window(rate.window_ms)]


@lru_cache(maxsize=256)  # the windows of a policy's limits
def _window(window_ms: int) -> tuple[bytes, bytes]:
    return b"x-ratelimit-window", b"%d" % wire.seconds(window_ms)


def _code(kind: Rate | Quota | Concurrency) -> str:
    if isinstance(kind, Quota):
        return f"{ADVERBS[kind.period].upper()}_QUOTA_EXCEEDED"
    return "CONCURRENCY_LIMIT_EXCEEDED" if isinstance(kind, Concurrency) else "RATE_LIMIT_EXCEEDED"


def _message(state: State) -> str:
    kind = state.limit.kind
    if state.retry_after_ms is None:
        return wire.can_never_pass(state)
    if isinstance(kind, Quota):
        return f"{ADVERBS[kind.period]} API quota exceeded. Upgrade your plan for higher limits."
    if isinstance(kind, Concurrency):
        return "Concurrency limit exceeded. Try again when one of your requests has finished."
    # "1 seconds" too: one template, for clients that look for the number in it.
    return f"Rate limit exceeded. Try again in {wire.seconds(state.retry_after_ms)} seconds."


def _detail(decision: Decision, state: State, identity: Identity) -> dict[str, Any]:
    kind, wait = state.limit.kind, state.retry_after_ms
    detail: dict[str, Any] = {}
    if isinstance(kind, Quota):
        detail["currentPlan"] = identity.tier
    else:
        if wait is not None:
            detail["retryAfter"] = wire.seconds(wait)
        detail |= {"limit": state.max, "remaining": state.remaining}
    if wait is not None and not isinstance(kind, Concurrency):  # when a slot becomes free, nobody knows
        detail["resetAt"] = wire.rfc3339(decision.now_ms + wait)
    return detail
