"""What was read, and what was decided in all."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

SAMPLES = 5  # lines that could not be read, and are shown


@dataclass(slots=True)
class Summary:
    """What was read, and what was decided in all."""

    files: list[str] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)  # of each file, `nginx`
    guessed: bool = False  # the formats
    timed: bool = False  # one of them has durations
    cut: list[str] = field(default_factory=list)  # compressed files that end before their end
    lines: int = 0
    understood: int = 0
    unreadable: dict[str, int] = field(default_factory=dict)  # lines, by the reason
    samples: list[tuple[str, int, str, str]] = field(default_factory=list)  # file, line, reason, its start, escaped
    late: int = 0  # out of order by more than the window: decided later than they came
    exempt: int = 0
    requests: int = 0  # that were decided
    denied: int = 0
    callers: int = 0
    beyond: int = 0  # requests of callers above the bound, which were not decided
    first_ms: int | None = None
    last_ms: int | None = None
    facts: dict[str, int] = field(default_factory=dict)  # what `unknown` is made of
    told: list[str] = field(default_factory=list)  # what the limiter would have logged, each line once
    unknown: list[str] = field(default_factory=list)  # what can't be known, a sentence each
    seconds: float = 0.0

    def add(self, other: Summary) -> None:
        """That of another process, over the same files."""
        for name in [one.name for one in fields(self)]:
            ours, theirs = getattr(self, name), getattr(other, name)
            if name in {"files", "formats", "guessed", "timed", "cut", "lines", "unknown"}:
                continue
            if name == "seconds":
                self.seconds = max(ours, theirs)
            elif name in {"first_ms", "last_ms"}:
                known = [instant for instant in (ours, theirs) if instant is not None]
                setattr(self, name, (min if name == "first_ms" else max)(known, default=None))
            elif name == "samples":
                self.samples = sorted([*ours, *theirs])[:SAMPLES]
            elif name in {"unreadable", "facts"}:
                setattr(self, name, {**ours, **{key: ours.get(key, 0) + count for key, count in theirs.items()}})
            elif name == "told":
                self.told = [*dict.fromkeys([*ours, *theirs])]
            else:
                setattr(self, name, ours + theirs)


@dataclass(slots=True)
class Replayed:
    """The summary, and of each process what its observers found, in the order of the policies."""

    summary: Summary
    results: list[Any] = field(default_factory=list)
    pairs: list[Any] = field(default_factory=list)
