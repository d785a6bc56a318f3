"""LendWorks: a list of errors with details, four X-RateLimit headers, and a code of its own for quotas."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from ratelimit.model import Answer, Concurrency, Decision, Headers, Identity, Quota, Rate, State
from ratelimit.styles import wire, x_ratelimit

Kind = Rate | Quota | Concurrency
ADVERBS = {"day": "Daily", "week": "Weekly", "month": "Monthly", "year": "Yearly"}


@dataclass(frozen=True, slots=True)
class Lendworks:
    """The style of the LendWorks API, as its page "Rate Limits" documents it.

    `request_id` adds `"meta":{"requestId":…}` with the log id to error bodies. `max_retry_after`, in seconds, caps the
    wait in the header and in the body, for clients that would sleep through a month: the documented monthly 429 says
    86400. `never` is the status of a request that can never pass.

    On a 429 by a rate, `X-RateLimit-Reset` and `resetAt` are one instant, the first whole second at which the request
    passes, also beyond `max_retry_after`; `Retry-After` and `retryAfter` are the wait in seconds, rounded up. `resetAt`
    of a quota is the calendar's own boundary. Callers without an API key get `Retry-After` and none of the X-RateLimit
    headers.
    """

    request_id: bool = False
    max_retry_after: int = 86_400
    never: int = 403

    log_id_header: ClassVar[bytes | None] = None

    def __post_init__(self) -> None:
        wire.check_options(self.max_retry_after, self.never)

    def headers(self, decision: Decision, identity: Identity, log_id: str) -> Headers:
        if identity.api_key is None and identity.anonymous:  # most have one, and a property is a call
            return []
        return x_ratelimit.of_binding(decision, True, True)

    def denied(self, decision: Decision, identity: Identity, log_id: str) -> Answer:
        return self._with_request_id(self._denied(decision, identity, log_id), log_id)

    @wire.made_once
    def _denied(self, decision: Decision, identity: Identity, log_id: str) -> Answer:
        state, now = wire.denied_by(decision), wire.now_ms()
        headers = [wire.CONTENT_TYPE_JSON, *wire.retry_after(state.retry_after_ms, self.max_retry_after)]
        if not identity.anonymous:
            headers += _limits(decision, state, now)
        kind, status, wait, at = state.charge.limit.kind, self.never, None, 0
        if state.retry_after_ms is not None:
            status, wait = 429, wire.wait(state.retry_after_ms, self.max_retry_after)
            quota = isinstance(kind, Quota)
            at = wire.epoch(decision.now_ms + state.reset_after_ms if quota else now + state.retry_after_ms)
        error = _error(kind, state.charge.cost, state.max, state.remaining, wait, at, identity.tier)
        return Answer(status, headers, b'{"errors":[%b]}' % error)

    def unavailable(self, log_id: str) -> Answer:
        error = {
            "code": "SERVICE_UNAVAILABLE",
            "message": "Rate limits cannot be checked right now. Try again in 1 seconds.",
            "detail": {"retryAfter": 1},
        }
        body = wire.compact_json({"errors": [error]})
        return self._with_request_id(Answer(503, [wire.CONTENT_TYPE_JSON, wire.RETRY_IN_A_SECOND], body), log_id)

    def refused(self, status: int, code: str, message: str, log_id: str) -> Answer:
        body = wire.compact_json({"errors": [{"code": code.upper(), "message": message}]})
        return self._with_request_id(Answer(status, [wire.CONTENT_TYPE_JSON], body), log_id)

    def _with_request_id(self, answer: Answer, log_id: str) -> Answer:
        if not self.request_id:
            return answer
        meta = wire.compact_json({"requestId": log_id})
        return answer._replace(body=b'%b,"meta":%b}' % (answer.body[:-1], meta))


def _limits(decision: Decision, denying: State, now: int) -> Headers:
    rate = decision.binding
    if rate is None:
        return []
    return [
        *x_ratelimit.of_state(rate, x_ratelimit.reset_at_ms(rate, denying, now)),
        x_ratelimit.window_header(rate.window_ms),
    ]


@lru_cache(maxsize=256)  # a caller that floods is told the same for a second
def _error(kind: Kind, cost: int, maximum: int, remaining: int, wait: int | None, at: int, plan: str | None) -> bytes:
    """`wait` in seconds, None if the request can never pass; `at` is the second at which it passes."""
    message, detail = _told(kind, wait, plan, {"limit": maximum, "remaining": remaining})
    if wait is None:
        message = wire.can_never_pass(cost, maximum)
    elif not isinstance(kind, Concurrency):  # when a slot becomes free, nobody knows
        detail["resetAt"] = wire.rfc3339(1000 * at)
    return wire.compact_json({"code": _code(kind), "message": message, "detail": detail})


def _code(kind: Kind) -> str:
    if isinstance(kind, Quota):
        return f"{ADVERBS[kind.period].upper()}_QUOTA_EXCEEDED"
    return "CONCURRENCY_LIMIT_EXCEEDED" if isinstance(kind, Concurrency) else "RATE_LIMIT_EXCEEDED"


def _told(kind: Kind, wait: int | None, plan: str | None, thresholds: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The message and the detail, without the instant."""
    if isinstance(kind, Quota):
        return f"{ADVERBS[kind.period]} API quota exceeded. Upgrade your plan for higher limits.", {"currentPlan": plan}
    detail = thresholds if wait is None else {"retryAfter": wait, **thresholds}
    if isinstance(kind, Concurrency):
        return "Concurrency limit exceeded. Try again when one of your requests has finished.", detail
    # "1 seconds" too: one template, for clients that look for the number in it.
    return f"Rate limit exceeded. Try again in {wait} seconds.", detail
