"""What a launch is made of. A Limit has one, or it is enforced as its `mode` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from ratelimit.checks import made
from ratelimit.checks.values import LARGEST
from ratelimit.launches.stages import wrong

_PARTS = 2**64


@dataclass(frozen=True, slots=True)
class Brownout:
    """A window in which a limit is enforced for everybody, before its launch has come to that."""

    since_ms: int
    until_ms: int

    def __post_init__(self) -> None:
        wrong.check("Brownout", wrong.of_window(self.since_ms, self.until_ms))


@dataclass(frozen=True, slots=True)
class Cohort:
    """Callers for whom the limit is enforced from an instant on: of those who have every value of `match`, by the names
    of an Override's, a `share`. One of 0.1 is among one of 0.25, whatever the limit.
    """

    from_ms: int
    match: Mapping[str, str | int] = field(default_factory=dict, hash=False)
    share: float = 1.0

    def __post_init__(self) -> None:
        wrong.check("Cohort", wrong.of_cohort(self.from_ms, self.match, self.share))
        object.__setattr__(self, "match", made.matched("Cohort", self.match))


@dataclass(frozen=True, slots=True)
class Launch:
    """A limit in shadow until an instant, by itself for ever, but in brownouts and for cohorts. `warn` is the part of
    the max from which on a response says so in a header. ValueError for what a policy file may not say either.
    """

    shadow_until_ms: int = LARGEST
    warn: float | None = None
    brownouts: tuple[Brownout, ...] = ()
    cohorts: tuple[Cohort, ...] = ()

    def __post_init__(self) -> None:
        wrong.check("Launch", wrong.of_launch(self.shadow_until_ms, self.warn, self.brownouts, self.cohorts))
        for found in wrong.together(self):
            if not found.odd:
                wrong.check("Launch", found.said())


def position(kind: str, name: str) -> float:
    """Where a caller is between 0 and 1, by its root: it is in each share that is larger. The same in every process,
    and spread evenly, also over names that are made one after the other."""
    digest = sha256(f"{kind}={name}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / _PARTS
