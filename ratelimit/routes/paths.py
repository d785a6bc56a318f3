"""The segments of a path, and of what is written as a pattern of paths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

WEBSOCKET = "WEBSOCKET"  # the method of handshakes, as rules name it
ENDS = 128  # segments at either end of a long path that are looked at: a path of 64 kB may have 32,000


class Wild(Enum):
    ONE = "*"  # one segment
    REST = "**"  # any number of segments, also none


Segment = str | Wild | re.Pattern[str]


def split_path(path: str) -> list[str]:
    """The segments of a path. Empty ones do not count: neither a trailing nor a doubled slash leads around a rule.

    A newline at the end does not count either, as the `$` of Starlette's routes matches before it: `/invoices%0A` is
    routed as `/invoices`. One that is a segment by itself stays: it could be the {id} of `/invoices/{id}`.

    In a path of more than 256 segments, which nobody sends in earnest, `**` is taken to be what lies in the middle.
    """
    segments = [*filter(None, path.split("/"))]
    if path[-1:] == "\n":
        segments[-1] = segments[-1][:-1] or "\n"
    return segments if len(segments) <= 2 * ENDS else segments[:ENDS] + segments[-ENDS:]


def client_path(path: str, root_path: str) -> str:
    """The path that the client sees: with `root_path`, which ASGI includes, and which a proxy may have cut off."""
    root = root_path.rstrip("/")
    return path if path == root or path.startswith(root + "/") else root + path


def path_below(path: str, root_path: str) -> str:
    """The path as an app at `root_path` routes it."""
    root = root_path.rstrip("/")
    return path[len(root) :] if path == root or path.startswith(root + "/") else path


def fold(path: str) -> str:
    """The same for whatever any server takes for the same, whatever the case.

    Upper case, as Windows compares, and then lower: a long s is an s, the Kelvin sign a k, ß is ss, and an i with a dot
    or without is an i, as it is to Python's re.IGNORECASE.
    """
    return path.lower() if path.isascii() else path.replace("İ", "i").upper().casefold()


def folded_pattern(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """As it is compared with folded paths."""
    return tuple(_folded(segment) for segment in segments)


def _folded(segment: Segment) -> Segment:
    if isinstance(segment, str):
        return fold(segment)
    if isinstance(segment, re.Pattern) and segment.pattern.upper() != segment.pattern.lower():
        return re.compile(segment.pattern, re.IGNORECASE)
    return segment
