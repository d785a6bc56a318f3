"""Facturapi: a flat error object, `Retry-After` in seconds, and the log id everywhere. Thresholds stay secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ratelimit.model import Answer, Decision, Headers, Identity, State
from ratelimit.styles import wire

LOG_ID = b"x-facturapi-log-id"


@dataclass(frozen=True, slots=True)
class Facturapi:
    """The style of the Facturapi API, as its page "Rate limits" documents it.

    `code` and `message` are those of the 429; the live API has since written its code in lower case,
    `rate_limit_exceeded`. `expose_limits` adds X-RateLimit-Limit, -Remaining and -Reset (epoch seconds), which the
    documented API keeps to itself "to reduce targeted abuse".
    """

    code: str = "RATE_LIMIT_EXCEEDED"
    message: str = "Too many requests. Please retry shortly."
    expose_limits: bool = False
    _limited: bytes = field(init=False, repr=False, compare=False)
    _never: bytes = field(init=False, repr=False, compare=False)

    log_id_header: ClassVar[bytes | None] = LOG_ID

    def __post_init__(self) -> None:
        never = "This request can never pass: it is larger than its limit. Retrying does not help."
        object.__setattr__(self, "_limited", _body(429, self.code, self.message))
        object.__setattr__(self, "_never", _body(429, self.code, never))

    def headers(self, decision: Decision, identity: Identity, log_id: str) -> Headers:
        return [(LOG_ID, log_id.encode("latin-1")), *self._thresholds(decision)]

    def denied(self, decision: Decision, identity: Identity, log_id: str) -> Answer:
        state = wire.denied_by(decision)
        headers = [
            wire.CONTENT_TYPE_JSON,
            *wire.retry_after(state.retry_after_ms),
            (LOG_ID, log_id.encode("latin-1")),
            *self._thresholds(decision, state),
        ]
        return Answer(429, headers, self._never if state.retry_after_ms is None else self._limited)

    def unavailable(self, log_id: str) -> Answer:
        body = _body(503, "SERVICE_UNAVAILABLE", "Service temporarily unavailable. Please retry shortly.")
        headers = [wire.CONTENT_TYPE_JSON, wire.RETRY_IN_A_SECOND, (LOG_ID, log_id.encode("latin-1"))]
        return Answer(503, headers, body)

    def _thresholds(self, decision: Decision, denying: State | None = None) -> Headers:
        rate = decision.binding if self.expose_limits else None
        return [] if rate is None else wire.x_ratelimit(rate, wire.reset_at_ms(decision, rate, denying))


def _body(status: int, code: str, message: str) -> bytes:
    return wire.compact_json({"message": message, "status": status, "ok": False, "code": code})
