"""What a line of the log says in words, once more as fields: for who reads it by program."""

from __future__ import annotations


def fields(event: str, **values: object) -> dict[str, object]:
    """As `extra=` of a line. No attribute of a LogRecord begins so: `ratelimit_event`, `ratelimit_limit`."""
    return {"ratelimit_event": event} | {f"ratelimit_{name}": value for name, value in values.items()}
