"""For the tests of an app that is limited: nothing of `ratelimit` imports it. Read limiting.py first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ratelimit.testing.clock import Clock
from ratelimit.testing.limiting import limited_client
from ratelimit.testing.outcomes import assert_denied, assert_left
from ratelimit.testing.recorded import Recorded
from ratelimit.testing.stubs import decision

if TYPE_CHECKING:
    from ratelimit.testing.client import LimitedClient

__all__ = ["Clock", "LimitedClient", "Recorded", "assert_denied", "assert_left", "decision", "limited_client"]


def __getattr__(name: str) -> Any:
    if name == "LimitedClient":  # needs starlette, which a stub of a Decision does not
        from ratelimit.testing.client import LimitedClient

        return LimitedClient
    raise AttributeError(f"module 'ratelimit.testing' has no attribute {name!r}")
