"""The whole answer as data: what a terminal shows a part of, JSON all of it, and the HTML file draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

from ratelimit.policy import Policy
from ratelimit.simulate.analysis.found import Found, together
from ratelimit.simulate.analysis.pair import Against, compared
from ratelimit.simulate.events import Replayed, Summary
from ratelimit.simulate.report.curve import Curve, curve_of
from ratelimit.simulate.report.words import counted, percent, verdict

TOLD = 5  # lines of the limiter's log

_ALONE = (
    "A curve is exact for its limit alone: it has those whom that max would deny if there were no other limit."
    " Where another limit denies too it is an upper bound, as a request that one denies is charged to none."
)
_BEHAVIOUR = (
    "A log has what callers asked under the limits of its time. Who is denied asks otherwise: some wait, some ask again"
    " at once."
)


@dataclass(frozen=True, slots=True)
class Report:
    """Of `policy`, a name, over logs. `lacks` is what of the logs was not understood, `fine_print` what the answer
    can't know: a sentence each."""

    policy: str
    verdict: str
    found: Found
    curves: Sequence[Curve]
    summary: Summary
    lacks: Sequence[str]
    fine_print: Sequence[str]
    other: str | None = None  # the policy that it is compared with
    against: Against | None = None

    def as_json(self) -> dict[str, Any]:
        """Everything. Numbers that no JSON has, the share of a max of 0, are null."""
        first = self.found.first
        whole = {
            "policy": self.policy,
            "verdict": self.verdict,
            "requests": self.found.requests,
            "denied": self.found.denied,
            "would_deny": self.found.would_deny,
            "callers": self.found.callers,
            "callers_denied": self.found.callers_denied,
            "first_denial": None if first is None else {"at_ms": first[0], "caller": first[1]},
            "limits": [_of_curve(curve) for curve in self.curves],
            "hits": [asdict(hit) for hit in self.found.hits],
            "patterns": dict(self.found.patterns),
            "in_flight": sorted(self.found.in_flight.items()),
            "week": self.found.week,
            "week_denied": self.found.week_denied,
            "log": _of_log(self.summary),
            "not_understood": [*self.lacks],
            "fine_print": [*self.fine_print],
        }
        if self.against is not None:
            whole["against"] = {"policy": self.other, **asdict(self.against)}
        finite: dict[str, Any] = _finite(whole)
        return finite


def answered(name: str, policy: Policy, replayed: Replayed, *, other: str | None = None) -> Report:
    """Of a simulation that was watched by `Watching`, and with another policy, `other`, by `Comparing`."""
    found = together([results[0] for results in replayed.results])
    against = compared(replayed.pairs) if other is not None else None
    return report_of(name, policy, found, replayed.summary, other=other, against=against)


def report_of(
    name: str,
    policy: Policy,
    found: Found,
    summary: Summary,
    *,
    other: str | None = None,
    against: Against | None = None,
) -> Report:
    curves = [
        curve_of(tier, limit, found.limits[tier, limit.name])
        for tier, limits in policy.tiers.items()
        for limit in limits
        if (tier, limit.name) in found.limits
    ]
    return Report(
        policy=name,
        verdict=verdict(found, summary.first_ms, summary.last_ms),
        found=found,
        curves=curves,
        summary=summary,
        lacks=_lacks(summary),
        fine_print=_fine_print(found, curves, summary),
        other=other,
        against=against,
    )


def _lacks(summary: Summary) -> list[str]:
    said = [
        f"{counted(count, 'line')}: {reason} ({percent(count, summary.lines)})"
        for reason, count in sorted(summary.unreadable.items(), key=lambda item: (-item[1], item[0]))
    ]
    if summary.late:
        said.append(f"{counted(summary.late, 'line')} so far out of order that they were decided later than they came")
    if summary.beyond:
        said.append(f"{counted(summary.beyond, 'request')} of callers above the bound (--max-callers), not decided")
    return said


def _fine_print(found: Found, curves: Sequence[Curve], summary: Summary) -> list[str]:
    said = [_ALONE] if len(curves) > 1 else []
    said.append(_BEHAVIOUR)
    if any(not curve.absolute for curve in curves):
        said.append("Where callers have different maxes, a threshold is a multiple of each one's own.")
    curved = {(curve.tier, curve.name) for curve in curves}
    if declared := sorted({name for tier, name in found.limits if (tier, name) not in curved}):
        said.append(f"{', '.join(declared)}: an endpoint declares it, so that there is no curve of it.")
    if conditional := [curve.name for curve in curves if curve.approximate]:
        said.append(
            f"{', '.join(dict.fromkeys(conditional))}: what a status gives back is given back at once in the curve, and"
            " late in the verdict, as the limiter does."
        )
    if any(curve.points and curve.points[0].requests is None for curve in curves):
        said.append("Requests at other thresholds were not counted where more than 20,000 callers were high at a time.")
    if not found.timed:
        said.append("The log does not say how long requests take: how many ran at a time is not known.")
    said += summary.unknown
    said += [f"The limiter would have logged: {line}" for line in summary.told[:TOLD]]
    return [*said, "Instants are in UTC."]


def _of_log(summary: Summary) -> dict[str, Any]:
    """What was read. Not by asdict, which makes other things of a Counter."""
    plain = ("files", "formats", "guessed", "lines", "understood", "late", "exempt", "beyond")
    return {
        **{name: getattr(summary, name) for name in (*plain, "first_ms", "last_ms")},
        "unreadable": dict(summary.unreadable),
        "samples": [dict(zip(("file", "line", "reason", "begins"), one, strict=True)) for one in summary.samples],
        "logged": summary.told,
        "seconds": round(summary.seconds, 3),
    }


def _of_curve(curve: Curve) -> dict[str, Any]:
    return {
        "tier": curve.tier,
        "name": curve.name,
        "what": curve.what,
        "mode": curve.mode,
        "threshold": "max" if curve.absolute else "multiple of each max",
        "present": curve.present,
        "callers": curve.total,
        "requests": curve.requests,
        "denied": curve.denied,
        "callers_denied": curve.callers_denied,
        "would_deny": curve.would_deny,
        "denied_alone": curve.denied_at(curve.present),
        "peaks": [list(pair) for pair in zip(curve.values, curve.callers, strict=True)],
        "peak_of_max": dict(curve.shares),
        "marks": dict(curve.marks),
        "points": [point._asdict() for point in curve.points],
        "toml": {name: toml_at(curve, at) for name, at in curve.marks.items()},
    }


def toml_at(curve: Curve, threshold: float) -> str:
    return curve.amount.toml(threshold, absolute=curve.absolute)


def _finite(node: Any) -> Any:
    if isinstance(node, float) and node == inf:
        return None
    if isinstance(node, Mapping):
        return {name: _finite(value) for name, value in node.items()}
    return [_finite(value) for value in node] if isinstance(node, list | tuple) else node
