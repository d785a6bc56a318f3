"""Lightspeed Retail (X-Series): `Retry-After` as an HTTP-date, and two X-RateLimit headers on every response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ratelimit.model import Answer, Decision, Headers, Identity, State
from ratelimit.styles import wire, x_ratelimit


@dataclass(frozen=True, slots=True)
class Lightspeed:
    """The style of the X-Series API, as its page "Rate limiting" documents it.

    `reset_header` adds X-RateLimit-Reset in epoch seconds. `legacy_body` gives the body that a 429 of this API had
    before and that clients still parse, with the usage and the date:
    `{"error":…,"limits":{"retailer":"651 > 650 for acme"},"retry-after":"Sun, 28 Aug 2016 06:05:00 +0000"}`.
    `retry_after = "seconds"` is for clients that parse whole seconds in the header. `max_retry_after`, in seconds, caps
    header and body; `never` is the status of a request that can never pass.
    """

    reset_header: bool = False
    legacy_body: bool = False
    retry_after: Literal["date", "seconds"] = "date"
    max_retry_after: int = wire.MAX_RETRY_AFTER
    never: int = 403

    log_id_header: ClassVar[bytes | None] = None

    def __post_init__(self) -> None:
        wire.check_options(self.max_retry_after, self.never)
        if self.retry_after not in {"date", "seconds"}:
            raise ValueError(f'retry_after is "date" or "seconds"; it is {self.retry_after!r}')

    def headers(self, decision: Decision, identity: Identity, log_id: str) -> Headers:
        return x_ratelimit.of_binding(decision, reset=self.reset_header)

    @wire.made_once
    def denied(self, decision: Decision, identity: Identity, log_id: str) -> Answer:
        state, now = wire.denied_by(decision), wire.now_ms()
        limits = self._limits(decision, state, now)
        legacy = {"limits": {"retailer": f"{state.used + state.charge.cost} > {state.max} for {_caller(identity)}"}}
        body: dict[str, Any]
        if state.retry_after_ms is None:
            message = wire.can_never_pass(state.charge.cost, state.max)
            reason = "Forbidden" if self.never == 403 else "Too Many Requests"
            body = {"error": message, **legacy} if self.legacy_body else {"error": reason, "message": message}
            return Answer(self.never, [wire.CONTENT_TYPE_JSON, *limits], wire.compact_json(body))
        seconds, date = self._wait(state.retry_after_ms, now)
        body = {"error": "Too Many Requests"}
        if self.legacy_body:
            body |= {**legacy, "retry-after": date.replace("GMT", "+0000")}  # the numeric zone of RFC 2822
        else:
            body["message"] = "Rate limiting enforced"
        return Answer(429, [wire.CONTENT_TYPE_JSON, self._header(seconds, date), *limits], wire.compact_json(body))

    def unavailable(self, log_id: str) -> Answer:
        # The same with legacy_body: its clients parse that of a 429 alone.
        body = {"error": "Service Unavailable", "message": "Rate limits cannot be checked right now"}
        retry_after = self._header(*self._wait(1000, wire.now_ms()))
        return Answer(503, [wire.CONTENT_TYPE_JSON, retry_after], wire.compact_json(body))

    def refused(self, status: int, code: str, message: str, log_id: str) -> Answer:
        body = wire.compact_json({"error": wire.phrase(status), "message": message})
        return Answer(status, [wire.CONTENT_TYPE_JSON], body)

    def _wait(self, duration_ms: int, now: int) -> tuple[int, str]:
        """A wait in seconds, and as a date."""
        return (
            wire.wait(duration_ms, self.max_retry_after),
            wire.http_date(now + min(duration_ms, 1000 * self.max_retry_after)),
        )

    def _header(self, seconds: int, date: str) -> tuple[bytes, bytes]:
        return b"retry-after", b"%d" % seconds if self.retry_after == "seconds" else date.encode("ascii")

    def _limits(self, decision: Decision, denying: State, now: int) -> Headers:
        rate = decision.binding
        if rate is None:
            return []
        return x_ratelimit.of_state(rate, x_ratelimit.reset_at_ms(rate, denying, now) if self.reset_header else None)


def _caller(identity: Identity) -> str:
    """The organization, else the root's name. Not even the hash of an API key leaves the server."""
    kind, name = identity.root
    return "api key" if kind == "api_key" else name
