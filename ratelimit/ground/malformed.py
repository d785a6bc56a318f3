"""What is wrong with a scope that is not as ASGI has it: for the person who reads the error at night."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

NOT_ASGI = "which is not ASGI: it is the server, or a middleware outside of the limiter, that made this scope"


def explained(scope: Mapping[str, Any], error: Exception) -> Exception:
    """The error itself, unless a malformed scope explains it."""
    wrong = next(_wrong(scope), None)
    if wrong is None:
        return error
    return ValueError(f"{wrong}, {NOT_ASGI}")


def _wrong(scope: Mapping[str, Any]) -> Iterator[str]:
    for name in ("path", "method", "root_path"):
        value = scope.get(name, None if name == "path" else "")
        if value is None and name != "root_path":
            yield f"a request without {name}"
        elif not isinstance(value or "", str):
            yield f"the {name} of a request is of type {type(value).__name__} and must be a str"
    headers = scope.get("headers")
    if not isinstance(headers, Iterable):
        yield "a request without a list of headers"
    elif not all(map(_is_header, headers)):
        yield "a header of a request is no pair of bytes"


def host_of(client: Any) -> str:
    """The host of `scope["client"]`, also where that is the host alone, or in bytes; "" where there is none.

    ValueError for what has none: it is never counted by a text that is another for each connection.
    """
    host = client[0] if isinstance(client, list | tuple) and client else client or None
    if isinstance(host, bytes):
        host = host.decode("latin-1")
    if not isinstance(host, str | None):
        raise ValueError(f"the client of a request is of type {type(client).__name__}, {NOT_ASGI}")  # noqa: TRY004
    return host or ""


def _is_header(header: Any) -> bool:
    return isinstance(header, list | tuple) and [type(part) for part in header] == [bytes, bytes]
