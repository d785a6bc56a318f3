"""The methods of requests, and what those that read nothing are by themselves."""

from __future__ import annotations

from collections.abc import Mapping

from ratelimit.model import Scope

USUAL = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
READING = frozenset({"GET", "HEAD"})
PREFLIGHT = "preflight"  # stands for its method: only rules of OPTIONS by name take it
HANDSHAKE = "handshake"  # of a WebSocket, which has no method: a request of HTTP may have any
BY_METHOD: Mapping[str, str | None] = {
    "POST": "create",
    "PUT": "write",
    "PATCH": "write",
    "DELETE": "write",
    PREFLIGHT: None,
    HANDSHAKE: "connect",
}


def unusual(method: str, scope: Scope) -> str:
    if scope.get("type") == "websocket":
        return HANDSHAKE
    method = str.upper(method) or "GET"  # one server hands on "get" as it came, and some apps answer it
    return PREFLIGHT if method == "OPTIONS" and _is_preflight(scope) else method


def _is_preflight(scope: Scope) -> bool:
    """The Fetch standard, section 3.2.1: OPTIONS with Origin and Access-Control-Request-Method."""
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names
