"""Lightspeed Retail (X-Series): `Retry-After` as an HTTP-date, and two X-RateLimit headers on every response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ratelimit.model import Answer, Decision, Headers, Identity, State
from ratelimit.styles import wire


@dataclass(frozen=True, slots=True)
class Lightspeed:
    """The style of the X-Series API, as its page "Rate limiting" documents it.

    `reset_header` adds X-RateLimit-Reset in epoch seconds. `legacy_body` gives the body that this API had before and
    that clients still parse, with the usage and the date:
    `{"error":…,"limits":{"retailer":"651 > 650 for acme"},"retry-after":"Sun, 28 Aug 2016 06:05:00 +0000"}`.
    """

    reset_header: bool = False
    legacy_body: bool = False

    log_id_header: ClassVar[bytes | None] = None

    def headers(self, decision: Decision, identity: Identity, log_id: str) -> Headers:
        return self._limits(decision)

    @wire.made_once
    def denied(self, decision: Decision, identity: Identity, log_id: str) -> Answer:
        state = wire.denied_by(decision)
        headers = [wire.CONTENT_TYPE_JSON]
        body: dict[str, Any] = {"error": "Too Many Requests"}
        if self.legacy_body:
            body["limits"] = {"retailer": f"{state.used + state.charge.cost} > {state.max} for {_caller(identity)}"}
        if state.retry_after_ms is None:
            body["message"] = wire.can_never_pass(state.charge.cost, state.max)
        else:
            date = wire.http_date(decision.now_ms + state.retry_after_ms)
            headers.append((b"retry-after", date.encode("ascii")))
            if self.legacy_body:
                body["retry-after"] = date.replace("GMT", "+0000")  # the numeric zone of RFC 2822
            else:
                body["message"] = "Rate limiting enforced"
        return Answer(429, headers + self._limits(decision, state), wire.compact_json(body))

    def unavailable(self, log_id: str) -> Answer:
        body = {"error": "Service Unavailable", "message": "Rate limits cannot be checked right now"}
        return Answer(503, [wire.CONTENT_TYPE_JSON, wire.RETRY_IN_A_SECOND], wire.compact_json(body))

    def _limits(self, decision: Decision, denying: State | None = None) -> Headers:
        rate = decision.binding
        if rate is None:
            return []
        return wire.x_ratelimit(rate, wire.reset_at_ms(decision, rate, denying) if self.reset_header else None)


def _caller(identity: Identity) -> str:
    """The organization, else the root's name. Not even the hash of an API key leaves the server."""
    kind, name = identity.root
    return "api key" if kind == "api_key" else name
