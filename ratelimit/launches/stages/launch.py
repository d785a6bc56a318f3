"""What a launch is made of. A Limit has one, or it is enforced as its `mode` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from ratelimit.checks import made
from ratelimit.checks.values import LARGEST
from ratelimit.ground.printable import printable
from ratelimit.ground.times import second
from ratelimit.launches.stages import wrong

_PARTS = 2**64


@dataclass(frozen=True, slots=True)
class Brownout:
    """A window in which a limit is enforced for everybody, before its launch has come to that."""

    since_ms: int
    until_ms: int

    def __post_init__(self) -> None:
        wrong.check("Brownout", wrong.of_window(self.since_ms, self.until_ms))

    def __str__(self) -> str:
        return f"{second(self.since_ms)} to {second(self.until_ms)}"


@dataclass(frozen=True, slots=True)
class Cohort:
    """Callers for whom the limit is enforced from an instant on: of those who have every value of `match`, by the names
    of an Override's, a `share`. One of 0.1 is among one of 0.25, whatever the limit.
    """

    from_ms: int
    match: Mapping[str, str | int] = field(default_factory=dict, hash=False, repr=False)
    share: float = 1.0

    def __post_init__(self) -> None:
        wrong.check("Cohort", wrong.of_cohort(self.from_ms, self.match, self.share))
        object.__setattr__(self, "match", made.matched("Cohort", self.match))

    def __str__(self) -> str:
        return f"{self.who} from {second(self.from_ms)}"

    @property
    def who(self) -> str:
        """`10 % of all callers`, `organization=acme`; an API key is only there as a hash of its hash."""
        who = " ".join([f"{kind}={_named(kind, str(value))}" for kind, value in self.match.items()])
        return who if self.share == 1 else f"{100 * self.share:.6g} % of {who or 'all callers'}"


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

    def __str__(self) -> str:
        """In words: `in shadow until 2027-02-01T00:00:00Z, brownouts …, enforced sooner for …, warns from 80 % on`."""
        ever = self.shadow_until_ms == LARGEST
        parts = ["in shadow for good" if ever else f"in shadow until {second(self.shadow_until_ms)}"]
        parts += [f"brownout {one}" for one in self.brownouts]
        parts += [f"enforced for {one}" for one in self.cohorts]
        return ", ".join(parts if self.warn is None else [*parts, f"warns from {100 * self.warn:.6g} % on"])


def position(kind: str, name: str) -> float:
    """Where a caller is between 0 and 1, by its root: it is in each share that is larger. The same in every process,
    and spread evenly, also over names that are made one after the other."""
    digest = sha256(f"{kind}={name}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / _PARTS


def _named(kind: str, name: str) -> str:
    if kind != "api_key":
        return printable(name)
    return f"#{sha256(name.encode(errors='surrogatepass')).hexdigest()[:32]}"
