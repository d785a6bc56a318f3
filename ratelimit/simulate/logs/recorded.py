"""Logs of our own, which the limiter writes where its policy has `[record]`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ratelimit.model import FOREVER, IDENTITY_KINDS
from ratelimit.simulate.events import Event
from ratelimit.simulate.logs.formats import NO_REQUEST, NO_TIME, Unread
from ratelimit.simulate.logs.instants import EARLIEST_MS, LATEST_MS, LONGEST_MS
from ratelimit.simulate.logs.json_lines import NAMES, joined, object_of, status_of


class Recorded:
    """A log of our own: it says who was counted, as what, and how often. `lost` are the requests that it could not
    write, `declared` those that limits of their endpoint counted too."""

    timed = True

    def __init__(self) -> None:
        self.facts: Counter[str] = Counter()

    def read(self, lines: Sequence[bytes], file: int, number: int, unread: Unread) -> list[Event]:
        events: list[Event] = []
        for number, line in enumerate(lines, number):  # noqa: B020
            found = object_of(line, number, unread)
            if found is None:
                continue
            if type(lost := found.get("lost")) is int:
                self.facts["lost"] += lost
                continue
            self.facts["declared"] += bool(found.get("declared"))
            at = found.get("at")
            if type(at) is not int or not EARLIEST_MS <= at < LATEST_MS:
                unread(number, NO_TIME, line)
                continue
            call = joined(found.get("method"), found.get("path"))
            if call is None:
                unread(number, NO_REQUEST, line)
                continue
            attributes = found.get("attributes")
            pairs = [(kind, found.get(kind)) for kind in (*IDENTITY_KINDS, "tier")]
            pairs += attributes.items() if isinstance(attributes, dict) else ()
            who = tuple([(name, value) for name, value in pairs if type(value) in NAMES and value != ""])
            took, units, operation = found.get("took"), found.get("units", 1), found.get("operation")
            took = min(took, LONGEST_MS) if type(took) is int and took > 0 else 0
            said = None
            if "operation" in found:
                said = (
                    operation if isinstance(operation, str) else None,
                    units if type(units) is int and 0 <= units <= FOREVER else 1,
                )
            events.append((at, file, number, took, call, status_of(found.get("status")), who or b"", said))
        return events
