"""Facturapi: a flat error object, `Retry-After` in seconds, and the log id everywhere. Thresholds stay secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ratelimit.model import Answer, Decision, Headers, Identity, Quota, State
from ratelimit.styles import wire, x_ratelimit

LOG_ID = b"x-facturapi-log-id"
SHORTLY = "Too many requests. Please retry shortly."
LATER = "Too many requests. Please retry after as many seconds as Retry-After says."
LONG_MS = 3_600_000  # a wait that nobody calls short
LARGER = "This request can never pass: it is larger than its limit. Retrying does not help."
CLOSED = "This request can never pass: its limit is closed. Retrying does not help."
LOWERED = "This request can never pass: before there is room for it, its limit is lowered. Retrying does not help."


@dataclass(frozen=True, slots=True)
class Facturapi:
    """The style of the Facturapi API, as its page "Rate limits" documents it.

    `code` and `message` are those of the 429; the live API has since written its code in lower case,
    `rate_limit_exceeded`. Without a `message` a quota, or a rate with an hour and more to wait, does not say "shortly".
    `expose_limits` adds X-RateLimit-Limit, -Remaining and -Reset (epoch seconds), which the documented API keeps to
    itself "to reduce targeted abuse". `max_retry_after`, in seconds, caps Retry-After; `never` is the status of a
    request that can never pass.
    """

    code: str = "RATE_LIMIT_EXCEEDED"
    message: str | None = None
    expose_limits: bool = False
    max_retry_after: int = wire.MAX_RETRY_AFTER
    never: int = 403
    _shortly: bytes = field(init=False, repr=False, compare=False)
    _later: bytes = field(init=False, repr=False, compare=False)
    _larger: bytes = field(init=False, repr=False, compare=False)
    _closed: bytes = field(init=False, repr=False, compare=False)
    _lowered: bytes = field(init=False, repr=False, compare=False)

    log_id_header: ClassVar[bytes | None] = LOG_ID

    def __post_init__(self) -> None:
        wire.check_options(self.max_retry_after, self.never)
        object.__setattr__(self, "_shortly", _body(429, self.code, self.message or SHORTLY))
        object.__setattr__(self, "_later", _body(429, self.code, self.message or LATER))
        object.__setattr__(self, "_larger", _body(self.never, self.code, LARGER))
        object.__setattr__(self, "_closed", _body(self.never, self.code, CLOSED))
        object.__setattr__(self, "_lowered", _body(self.never, self.code, LOWERED))

    def headers(self, decision: Decision, identity: Identity, log_id: str) -> Headers:
        told = x_ratelimit.of_binding(decision) if self.expose_limits else ()
        return [(LOG_ID, log_id.encode("latin-1")), *told]

    def denied(self, decision: Decision, identity: Identity, log_id: str) -> Answer:
        state = wire.denied_by(decision)
        wait = state.retry_after_ms
        headers = [
            wire.CONTENT_TYPE_JSON,
            *wire.retry_after(wait, self.max_retry_after),
            (LOG_ID, log_id.encode("latin-1")),
            *self._thresholds(decision, state),
        ]
        if wait is None:
            larger = self._larger if state.charge.cost > state.max else self._lowered
            return Answer(self.never, headers, larger if state.max else self._closed)
        long = isinstance(state.limit.kind, Quota) or wait >= LONG_MS
        return Answer(429, headers, self._later if long else self._shortly)

    def unavailable(self, log_id: str) -> Answer:
        body = _body(503, "SERVICE_UNAVAILABLE", "Service temporarily unavailable. Please retry shortly.")
        headers = [wire.CONTENT_TYPE_JSON, wire.RETRY_IN_A_SECOND, (LOG_ID, log_id.encode("latin-1"))]
        return Answer(503, headers, body)

    def refused(self, status: int, code: str, message: str, log_id: str) -> Answer:
        headers = [wire.CONTENT_TYPE_JSON, (LOG_ID, log_id.encode("latin-1"))]
        return Answer(status, headers, _body(status, code.upper(), message))

    def _thresholds(self, decision: Decision, denying: State) -> Headers:
        rate = decision.binding if self.expose_limits else None
        return [] if rate is None else x_ratelimit.of_state(rate, x_ratelimit.reset_at_ms(rate, denying, wire.now_ms()))


def _body(status: int, code: str, message: str) -> bytes:
    return wire.compact_json({"message": message, "status": status, "ok": False, "code": code})
