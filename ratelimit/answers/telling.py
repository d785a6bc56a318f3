"""A style as it is asked: with the scope of the request where it wants it, and for a refusal that it may not know."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import is_dataclass, replace
from functools import partial
from inspect import Parameter, signature
from typing import Any, cast

from ratelimit.model import Answer, Refused, Scope, Style

_METHODS = ("headers", "denied", "unavailable", "refused")
_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


class _Scoped:
    """A style for one request: those of its methods that have a parameter `scope` have it already."""

    __slots__ = ("log_id_header", *_METHODS)

    def __init__(self, style: Style, wanting: frozenset[str], scope: Scope) -> None:
        self.log_id_header = style.log_id_header
        for name in _METHODS:
            method = getattr(style, name, None)
            setattr(self, name, partial(method, scope=scope) if method and name in wanting else method)


def scoped(style: Style) -> Callable[[Scope], Style] | None:
    """What makes a style's own of each request; None where no method of it has a parameter `scope`."""
    inner = getattr(style, "style", None)  # as of one that adds to another's headers
    if is_dataclass(style) and inner is not None and (of_inner := scoped(inner)):
        return lambda scope: cast("Style", replace(cast("Any", style), style=of_inner(scope)))
    wanting = frozenset(name for name in _METHODS if _wants_scope(getattr(style, name, None)))
    return cast("Callable[[Scope], Style]", partial(_Scoped, style, wanting)) if wanting else None


def _wants_scope(method: Callable[..., object] | None) -> bool:
    try:
        parameter = signature(method).parameters.get("scope") if method else None
    except ValueError:  # of something that is built in
        return False
    return parameter is not None and parameter.kind in _BY_NAME


def refusal(style: Style, refused: Refused, log_id: str) -> Answer:
    """The answer to a request that is not counted: in the style's envelope, in plain JSON where it has none for it."""
    told = getattr(style, "refused", None)
    if told is not None:
        answer: Answer = told(refused.status, refused.code, refused.message, log_id)
        return answer
    headers = [(b"content-type", b"application/json")]
    if style.log_id_header:
        headers.append((style.log_id_header, log_id.encode("latin-1")))
    body = json.dumps({"error": refused.code, "message": refused.message}, separators=(",", ":"))
    return Answer(refused.status, headers, body.encode("ascii"))
