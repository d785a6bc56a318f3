"""An app under ratelimit as the benchmarks set it up; with headers on allowed responses, or without any.

Imported where the apps run: of the harness only what needs no package of its own.
"""

from __future__ import annotations

from typing import Any

from benchmarks import policy
from ratelimit import RateLimitMiddleware, parse_policy
from ratelimit.model import Answer, Decision, Headers, Identity, Style
from ratelimit.telemetry.hook import Telemetry

DEFAULT_STYLE = "ietf"  # of a policy that names none
SILENT = "silent"  # in the place of a style: no headers on allowed responses


class Silent:
    """A style without headers on allowed responses, as most peers have it."""

    log_id_header = None

    def __init__(self, style: Style) -> None:
        self._style = style

    def headers(self, decision: Decision, identity: Identity, log_id: str) -> Headers:
        return []

    def denied(self, decision: Decision, identity: Identity, log_id: str) -> Answer:
        return self._style.denied(decision, identity, log_id)

    def unavailable(self, log_id: str) -> Answer:
        return self._style.unavailable(log_id)


def limited(
    app: Any, style: str = DEFAULT_STYLE, *, store: Any = None, telemetry: Telemetry | None = None, **settings: Any
) -> Any:
    """The app with the middleware; `settings` are those of `policy.text`. Without a store that of the
    environment counts.
    """
    shown = "lendworks" if style == SILENT else style
    made = parse_policy(policy.text(style=shown, **settings))
    silent = Silent(made.style) if style == SILENT else None
    app.add_middleware(RateLimitMiddleware, policy=made, store=store, style=silent, telemetry=telemetry)
    return app
