"""How many callers each threshold of one limit would deny."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from typing import NamedTuple

from ratelimit.control.outcomes import conditional
from ratelimit.ground.times import period
from ratelimit.model import Concurrency, Limit, Rate
from ratelimit.simulate.analysis.found import POINTS, OfLimit, thresholds_of
from ratelimit.simulate.report.amounts import Amount, amount_of
from ratelimit.simulate.report.words import date

QUANTILES = (0.5, 0.9, 0.99, 0.999)


class Point(NamedTuple):
    """At a threshold: the callers and the requests that this limit alone would deny. `requests` is None where they were
    not counted."""

    threshold: float
    callers: int
    requests: int | None


@dataclass(frozen=True, slots=True)
class Curve:
    """Of a limit of a tier. A threshold is a max where all callers have the same (`absolute`), else a multiple of each
    one's own. `values` are the peaks that there are, upwards, `callers` how many have each."""

    tier: str
    name: str
    what: str  # "100 in any minute, for each organization"
    mode: str  # "" of one that is enforced
    absolute: bool
    present: float
    values: Sequence[float]
    callers: Sequence[int]
    requests: int
    denied: int  # requests, with all limits
    callers_denied: int
    would_deny: int
    shares: Mapping[str, float]  # quantiles of peak against max, by "50"
    marks: Mapping[str, float]  # thresholds by "present", "p99", "p99.9"
    points: Sequence[Point]
    amount: Amount
    approximate: bool
    _up_to: Sequence[int] = field(repr=False)

    @property
    def total(self) -> int:
        """Callers that the limit counts."""
        return self._up_to[-1] if self._up_to else 0

    def denied_at(self, threshold: float) -> int:
        """Callers whose peak is above it: whom this limit alone would deny."""
        below = bisect_right(self.values, threshold)
        return self.total - (self._up_to[below - 1] if below else 0)


def curve_of(tier: str, limit: Limit, seen: OfLimit) -> Curve:
    absolute = len(seen.maxes) == 1
    peaks: Mapping[float, int] = dict(seen.peaks.items()) if absolute else seen.shares
    values = sorted(peaks)
    callers = [peaks[value] for value in values]
    up_to = [*accumulate(callers)]
    present: float = next(iter(seen.maxes)) if absolute else 1.0
    made = Curve(
        tier=tier,
        name=limit.name,
        what=_what(limit, int(present) if absolute else None),
        mode=_mode(limit),
        absolute=absolute,
        present=present,
        values=values,
        callers=callers,
        requests=seen.requests,
        denied=seen.denied,
        callers_denied=seen.callers_denied,
        would_deny=seen.would_deny,
        shares=quantiles_of(seen.shares.items()),
        marks={"present": present, "p99": _quantile(values, up_to, 0.99), "p99.9": _quantile(values, up_to, 0.999)},
        points=(),
        amount=amount_of(tier, limit),
        approximate=conditional(limit),
        _up_to=up_to,
    )
    object.__setattr__(made, "points", _points(made, seen))
    return made


def _points(curve: Curve, seen: OfLimit) -> Sequence[Point]:
    thresholds: Sequence[float] = (
        thresholds_of(int(curve.present)) if curve.absolute else [percent / 100 for percent in POINTS]
    )
    found: dict[float, Point] = {}  # of a small max several are the same
    for threshold, requests in zip(thresholds, seen.points, strict=True):
        found[threshold] = Point(threshold, curve.denied_at(threshold), None if seen.uncounted else requests)
    return [*found.values()]


def quantiles_of(peaks: Iterable[tuple[float, int]]) -> Mapping[str, float]:
    """Of peaks and how many callers have each: what so many percent of the callers do not go beyond."""
    of_callers = sorted(peaks)
    values = [value for value, _ in of_callers]
    up_to = [*accumulate(count for _, count in of_callers)]
    of = {f"{100 * part:g}": _quantile(values, up_to, part) for part in QUANTILES}
    return {**of, "100": values[-1] if values else 0.0}


def _quantile(values: Sequence[float], up_to: Sequence[int], part: float) -> float:
    """The least value that so large a part of the callers does not go beyond."""
    if not up_to:
        return 0
    needed = -(-Fraction(str(part)) * up_to[-1] // 1)
    return values[next(at for at, count in enumerate(up_to) if count >= needed)]


def _mode(limit: Limit) -> str:
    """Why it may not deny, where it may not."""
    if limit.mode != "enforce":
        return limit.mode
    if limit.launch is not None:
        return "launch"
    return f"shadow until {date(limit.enforce_from_ms)}" if limit.enforce_from_ms else ""


def _what(limit: Limit, maximum: int | None) -> str:
    many = "each caller's own max" if maximum is None else f"{maximum:,}"
    each = "" if limit.per == ("identity",) else f", for each {' and '.join(limit.per)}"
    kind = limit.kind
    if isinstance(kind, Concurrency):
        return f"{many} at a time{each}"
    return f"{many} in {f'any {period(kind.window_ms)}' if isinstance(kind, Rate) else f'a {kind.period}'}{each}"
