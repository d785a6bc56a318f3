"""What is wrong with a scope that is not as ASGI has it: for the person who reads the error at night."""

from __future__ import annotations

from typing import Any

from ratelimit.model import Scope


def explained(scope: Scope, error: Exception) -> Exception:
    """The error itself, unless a malformed scope explains it."""
    wrong = _wrong(scope)
    if wrong is None:
        return error
    return ValueError(f"{wrong}: the server, or a middleware outside of the limiter, made a scope that is not ASGI's")


def _wrong(scope: Scope) -> str | None:
    for name in ("path", "headers"):
        if name not in scope:
            return f"a request without {name}"
    for name in ("path", "method", "root_path"):
        value = scope.get(name, "")
        if not isinstance(value, str):
            return f"the {name} of a request is of type {type(value).__name__} and must be a str"
    if not all(map(_is_header, scope["headers"])):
        return "a header of a request is no pair of bytes"
    return None


def _is_header(header: Any) -> bool:
    return isinstance(header, list | tuple) and len(header) == 2 and all(isinstance(part, bytes) for part in header)
