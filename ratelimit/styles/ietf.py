"""The fields of the IETF (fields.py), alone or beside any other style's headers; problem details are RFC 9457."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from ratelimit.model import Answer, Decision, Headers, Identity, Style
from ratelimit.styles import wire
from ratelimit.styles.fields import fields

CONTENT_TYPE_PROBLEM = (b"content-type", b"application/problem+json")
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"


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
        return answer._replace(headers=self._with_fields(answer.headers, decision, wire.most_of(self)))

    def unavailable(self, log_id: str) -> Answer:
        return self.style.unavailable(log_id)

    @property
    def refused(self) -> Callable[..., Answer] | None:
        """The style's own, if it has one."""
        return getattr(self.style, "refused", None)

    def _with_fields(self, headers: Headers, decision: Decision, most: int = wire.MAX_RETRY_AFTER) -> Headers:
        # A List field that is sent twice is one longer List: each limit would be in it twice.
        return headers if isinstance(self.style, Ietf) else [*headers, *fields(decision, most)]


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
