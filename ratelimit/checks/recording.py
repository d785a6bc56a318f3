"""What `[record]` may say: which share of the callers, and how much is kept of them."""

from __future__ import annotations

import re
from typing import Any

from ratelimit.checks import values as checks
from ratelimit.ground.words import shown

SIZES = {"kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
SMALLEST, LARGEST = 100_000, 1_000_000_000_000  # bytes of a file: a write of lines is a megabyte at most
MOST_KEPT = 1_000
SIZE = "[0-9]{1,15}(kB|MB|GB)"
_SIZE = re.compile(SIZE)


def file(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not a text in quotes")  # noqa: TRY004 - one kind of error for a reader
    if "\x00" in value:
        raise ValueError("has a zero byte in it, which no path has")
    return checks.not_blank(value)


def sample(value: Any) -> float:
    """A share of the callers."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not a number; write the share of the callers: 0.1 is a tenth")  # noqa: TRY004
    if not 0 < value <= 1:
        raise ValueError(f"{shown(value)} is not a share of the callers; write more than 0 and at most 1")
    return float(value)


def size(value: Any) -> int:
    """`100MB`: in bytes"""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{shown(value)} is not a size; write a whole number and kB, MB or GB: "100MB"')
    return bytes_of(int(value[:-2]) * SIZES[match[1]], shown(value))


def bytes_of(value: Any, written: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not SMALLEST <= value <= LARGEST:
        raise ValueError(f"{written} is out of range; the smallest size is 100kB, the largest 1000GB")
    return value


def keep(value: Any) -> int:
    return checks.whole(value, 1, MOST_KEPT)


def settings(of: Any) -> None:
    """RecordSettings that are made by hand."""
    parts = (
        ("file", lambda: file(of.file)),
        ("sample", lambda: sample(of.sample)),
        ("max_bytes", lambda: bytes_of(of.max_bytes, shown(of.max_bytes))),
        ("keep", lambda: keep(of.keep)),
    )
    for name, check in parts:
        try:
            check()
        except ValueError as error:
            raise ValueError(f"RecordSettings: {name}: {error}") from None
