"""A caller's own usage, answered at an endpoint of the app. Read answered.py first, then reading.py and told.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ratelimit.usage.endpoint import Usage

    usage: Usage

__all__ = ["usage"]


def __getattr__(name: str) -> Any:
    """`usage` is marked: where anything is, each request is asked for its endpoint. So not before somebody wants it."""
    if name != "usage":
        raise AttributeError(f"module 'ratelimit.usage' has no attribute {name!r}")
    from ratelimit.routes.marks import own_usage
    from ratelimit.usage.endpoint import Usage

    made = globals()["usage"] = own_usage(Usage())
    return made
