"""From answers to their Response Object of OpenAPI 3.1: headers with types, the schema of the body, an example.

What differs from call to call, as the date in a body, is an instant that never changes here: a document that is kept
beside the code does not differ without a reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ratelimit.model import Answer

Schema = dict[str, Any]

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d (GMT|\+0000)")
_EPOCH = re.compile(r"[1-9]\d{9}")  # seconds since 1970, from 2001 to 2286
_NOT_TOLD = frozenset({"content-type", "content-length", "cache-control"})

_TITLES = {
    400: "The request has the API keys of two callers, or units that are no whole number: nothing was counted.",
    403: "This request can never pass, however long one waits: it costs more than its limit allows.",
    429: "Too many requests: a limit is exceeded. Nothing was counted; repeat the request after the wait.",
    503: "The limits can't be checked right now.",
}
_DESCRIPTIONS = {
    "retry-after": "How long to wait before the request is repeated",
    "x-ratelimit-limit": "Requests that the limit allows in its window",
    "x-ratelimit-remaining": "Requests that are left in the window",
    "x-ratelimit-reset": "When the limit is whole again, or the request can be repeated: seconds since 1970",
    "x-ratelimit-window": "The length of the window in seconds",
    "ratelimit-policy": "Each limit with its quota q and its window w in seconds: a List of RFC 9651",
    "ratelimit": "Each limit with what remains r, and in t the seconds until it is free or whole: a List of RFC 9651",
}
_OF_A_LOG_ID = "The id of this request in the log"


def response(status: int, answers: Sequence[Answer], log_id_header: bytes | None) -> Schema:
    """Of one status. Bodies that are no JSON are told by their media type alone."""
    headers: dict[str, list[str]] = {}
    bodies: dict[str, list[Any]] = {}
    for answer in answers:
        told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
        bodies.setdefault(told.get("content-type", "application/json").partition(";")[0], []).append(_body(answer.body))
        for name in told.keys() - _NOT_TOLD:
            headers.setdefault(name, []).append(told[name])
    log_id = log_id_header.decode("latin-1").lower() if log_id_header else None
    made: Schema = {"description": _TITLES.get(status, "The limiter answers in place of the app.")}
    if headers:
        made["headers"] = {
            "-".join(part.capitalize() for part in name.split("-")).replace("Ratelimit", "RateLimit"): _header(
                values, len(values) == len(answers), _OF_A_LOG_ID if name == log_id else _DESCRIPTIONS.get(name, "")
            )
            for name, values in sorted(headers.items())
        }
    made["content"] = {media: _content(values) for media, values in sorted(bodies.items())}
    return made


def _header(values: Sequence[str], always: bool, description: str) -> Schema:
    number = all(value.isascii() and value.isdecimal() for value in values)
    date = all(_HTTP_DATE.fullmatch(value) for value in values)
    if description.startswith("How long"):
        description += ", as an HTTP date" if date else ", in seconds"
    example: object = int(_stable(values[0])) if number else _stable(values[0])
    made: Schema = {"description": description, "schema": {"type": "integer" if number else "string"}}
    return {**made, "required": always, "example": example}


def _body(body: bytes) -> Any:
    try:
        return _still(json.loads(body))
    except ValueError:
        return None


def _content(values: Sequence[Any]) -> Schema:
    known = [value for value in values if value is not None]
    return {"schema": schema(known), "example": known[0]} if known else {}


def schema(values: Sequence[Any]) -> Schema:
    """Of all these values: what each of them has is required."""
    kinds = sorted({_type(value) for value in values})
    made: Schema = {"type": kinds[0] if len(kinds) == 1 else kinds}
    texts = [value for value in values if isinstance(value, str)]
    if texts and all(_RFC3339.fullmatch(text) for text in texts):
        made["format"] = "date-time"
    if objects := [value for value in values if isinstance(value, dict)]:
        names = dict.fromkeys(name for value in objects for name in value)
        made["properties"] = {name: schema([value[name] for value in objects if name in value]) for name in names}
        made["required"] = [name for name in names if all(name in value for value in objects)]
    if items := [item for value in values if isinstance(value, list) for item in value]:
        made["items"] = schema(items)
    return made


def _type(value: object) -> str:
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "null" if value is None else "object"


def _still(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _still(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_still(item) for item in value]
    return _stable(value) if isinstance(value, str) else value


def _stable(text: str) -> str:
    """An instant as the same one each time."""
    if _RFC3339.fullmatch(text):
        return "2030-01-01T00:00:30Z"
    if date := _HTTP_DATE.fullmatch(text):
        return f"Tue, 01 Jan 2030 00:00:30 {date[1]}"
    return "1893456030" if _EPOCH.fullmatch(text) else text
