"""How a client is told that it has sent too much: with what code a connection is closed, and why.

The reason has the wait in whole seconds, rounded up and at least 1, as `Retry-After` has it.
"""

from __future__ import annotations

from typing import NamedTuple

from ratelimit.model import Decision, Style
from ratelimit.styles import wire
from ratelimit.styles.jitter import jittered

AGAIN_MS = 1_000  # until a store out of reach is found back

POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013  # RFC 6455, section 7.4.1, and its registry


class Close(NamedTuple):
    code: int
    reason: str  # at most 123 bytes, all that a frame has room for


def closing(decision: Decision, style: Style) -> Close:
    """`1008 rate limit exceeded, retry after 45 s`."""
    denying = jittered(decision, style).denying
    if denying is None:
        return Close(TRY_AGAIN_LATER, f"rate limits are unavailable, retry after {AGAIN_MS // 1_000} s")
    if denying.retry_after_ms is None:
        return Close(POLICY_VIOLATION, "rate limit exceeded, and this message can never pass")
    wait = wire.wait(denying.retry_after_ms, wire.most_of(style))
    return Close(POLICY_VIOLATION, f"rate limit exceeded, retry after {wait} s")
