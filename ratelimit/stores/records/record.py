"""The counters of one caller, as numbers in one bytearray.

72 bytes for two counters and 64 for the bytearray, which the garbage collector never looks at. As objects they were
600, and a full collection stopped the event loop for more than a second while a million callers came.

    until, seen, older, then of each counter: what it counts, mark, total

The first three are of a clock that never goes back, in ms: until when a counter matters; when the caller last was seen,
to a second; until when a count of an older sub-window than the newest matters, 0 where there is none. The mark is the
newest sub-window of a rate, and the instant of the last charge to a quota.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from typing import TYPE_CHECKING

UNTIL, SEEN, OLDER, FIRST, WIDTH = 0, 1, 2, 3, 3
MARK, TOTAL = 1, 2  # of a counter, from its place on
GONE = -1  # a mark of nothing, and all that is found by who still has the record of a caller that was dropped

if TYPE_CHECKING:
    Record = memoryview[int]
else:
    Record = memoryview  # which says of what only from Python 3.14 on

head_of = struct.Struct("3q").unpack_from  # of a bytearray, in a quarter of the time of `opened`
_KEY = re.compile(r"(\{[^}]*\})(:[^:]*:[^:]*)(.*)", re.DOTALL)


@lru_cache(maxsize=4096)
def split(key: str) -> tuple[str, str]:
    """Whose counter it is, and which: `{organization=acme}:user=ana` and `:requests:60000/60`. The first is the same
    for the counters of a caller, the second for the callers of a tier."""
    parts = _KEY.fullmatch(key)
    return (parts[1] + parts[3], parts[2]) if parts else (key, "")


def joined(name: str, what: str) -> str:
    """The key that was split."""
    root, brace, parts = name.partition("}") if what else (name, "", "")
    return f"{root}{brace}{what}{parts}"


def new(seen: int) -> bytearray:
    return bytearray(struct.pack("3q", 0, seen, 0))


def opened(kept: bytearray) -> Record:
    """To read and write its numbers."""
    return memoryview(kept).cast("q")


def grown(record: Record, what: int) -> bytearray:
    """With one more counter, of which nothing is counted yet. Whoever still has the old one finds nothing in it."""
    kept = bytearray(record) + struct.pack("3q", what, GONE, 0)
    clear(record)
    return kept


def clear(record: Record) -> None:
    for place in range(FIRST, len(record), WIDTH):
        record[place] = record[place + MARK] = GONE


def place_in(record: Record, what: int) -> int:
    """Where a counter begins; 0 if it is not there."""
    for place in range(FIRST, len(record), WIDTH):
        if record[place] == what:
            return place
    return 0
