"""What is told of each limit: its curve, its marks, and a threshold as a policy file has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ratelimit.config.load import parse_policy
from ratelimit.model import Limit, Rate
from ratelimit.simulate.analysis.found import OfLimit
from ratelimit.simulate.analysis.pair import Against, Changed
from ratelimit.simulate.events import Replayed, Summary
from ratelimit.simulate.report.amounts import amount_of
from ratelimit.simulate.report.curve import curve_of
from ratelimit.simulate.report.report import answered, toml_at
from tests.simulate.analysis import HOUR, Asked, T, policy, watched, who
from tests.simulate.report import report

THREE = '{ name = "requests", rate = "3/minute" }'
ASKED = [Asked(T + k, who(f"c{n}")) for n in range(100) for k in range(n % 10 + 1)]

TIERS = (("anonymous", 3), ("basic", 4))


def limit(text: str) -> Limit:
    return policy(f'{{ name = "x", {text} }}').tiers["basic"][0]


def test_curve() -> None:
    """Whom each threshold denies; where 1 % and 0.1 % are left; quantiles of peak against max."""
    (curve,) = report(policy(THREE), ASKED).curves
    assert (curve.absolute, curve.present, curve.total) == (True, 3, 100)
    assert [curve.denied_at(at) for at in (0, 1, 2, 3, 9, 10, 99)] == [100, 90, 80, 70, 10, 0, 0]
    assert curve.marks == {"present": 3, "p99": 10, "p99.9": 10}
    assert curve.shares == {"50": 1.667, "90": 3.0, "99": 3.334, "99.9": 3.334, "100": 3.334}
    assert [point.threshold for point in curve.points] == [0, 1, 2, 3, 4, 6, 9]
    assert curve.points[3] == (3, 70, 280)
    assert curve.what == "3 in any minute"


def test_multiples() -> None:
    """Where callers have different maxes a threshold is a multiple of each one's own."""
    of = policy('{ name = "requests", rate = "(2 * seats + 1)/minute" }')
    asked = [Asked(T + k, who(f"c{seats}", seats=seats)) for seats in (1, 2, 3) for k in range(6)]
    (curve,) = report(of, asked).curves
    assert (curve.absolute, curve.present, curve.values) == (False, 1.0, [0.8572, 1.2, 2.0])
    assert [curve.denied_at(at) for at in (0.5, 0.8571, 0.86, 1.0, 1.2, 1.99, 2.0)] == [3, 3, 2, 2, 1, 1, 0]
    assert [point.threshold for point in curve.points[:3]] == [0.05, 0.1, 0.2]
    assert curve.what == "each caller's own max in any minute"


@pytest.mark.parametrize(
    ("text", "threshold", "absolute", "toml"),
    [
        ('rate = "3/minute"', 120, True, 'rate = "120/minute"  # x of [tiers.basic]'),
        ('rate = "3/90 seconds"', 120.0, True, 'rate = "120/90 seconds"  # x of [tiers.basic]'),
        ('quota = "3/month"', 7, True, 'quota = "7/month"  # x of [tiers.basic]'),
        ("concurrency = 4", 7, True, "concurrency = 7  # x of [tiers.basic]"),
        ('rate = "7/minute"', 1.5, False, 'rate = "10/minute"  # x of [tiers.basic], and each override times 1.5'),
        ('rate = "(300 * r + 50)/5 minutes"', 1.25, False, 'rate = "(375 * r + 63)/5 minutes"  # x of [tiers.basic]'),
        ('concurrency = "2 * r"', 1.6, False, 'concurrency = "(4 * r)"  # x of [tiers.basic]'),
        ('rate = "(r * r)/minute"', 1.25, False, "# 1.25 times the present max of x of [tiers.basic]"),
        ('rate = "(9 * r - 50)/minute"', 1.25, False, "# 1.25 times the present max of x of [tiers.basic]"),
        ('rate = "(50 - r)/minute"', 1.25, False, "# 1.25 times the present max of x of [tiers.basic]"),
        ('rate = "3/minute"', float("inf"), False, "# x of [tiers.basic]: of a max of 0 no multiple is more"),
    ],
)
def test_toml(text: str, threshold: float, absolute: bool, toml: str) -> None:
    """As it is written in a policy file; where a multiple of a formula can't be, that is said."""
    assert amount_of("basic", limit(text)).toml(threshold, absolute=absolute) == toml


def test_what_is_copied_is_valid() -> None:
    """A policy with it loads, and denies those whom the curve says."""
    of = policy('{ name = "requests", rate = "(2 * seats + 1)/minute" }')
    asked = [Asked(T + k, who(f"c{seats}", seats=seats)) for seats in (1, 2, 3) for k in range(6)]
    (curve,) = report(of, asked).curves
    changed = policy(f'{{ name = "requests", {toml_at(curve, 2.0).partition("  #")[0]} }}')
    assert report(changed, asked).found.callers_denied == 0


def test_a_max_that_is_a_function() -> None:
    """A limit that is made by hand has a max of which only the constant is known."""
    made = Limit("x", Rate(60_000), lambda attributes: int(attributes.get("seats", 2)))
    assert amount_of("basic", made).constant == 2


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", ""),
        (', mode = "shadow"', "shadow"),
        (", from = 2026-05-19T00:00:00Z", "shadow until 2026-05-19 00:00"),
        (", launch = { shadow_until = 2026-05-19T00:00:00Z }", "launch"),
    ],
)
def test_why_it_may_not_deny(text: str, mode: str) -> None:
    """A limit in shadow is told as one."""
    assert curve_of("basic", limit(f'rate = "3/minute"{text}'), OfLimit()).mode == mode


def test_whose() -> None:
    """For whom a limit counts apart is told, and what a caller without requests has is nothing."""
    of = limit('quota = "3/week", per = ["organization", "ip"]')
    curve = curve_of("basic", of, OfLimit())
    assert curve.what == "each caller's own max in a week, for each organization and ip"
    assert (curve.total, curve.denied_at(0), curve.marks["p99"], curve.shares["100"]) == (0, 0, 0, 0.0)
    assert curve_of("basic", limit("concurrency = 3"), OfLimit()).what == "each caller's own max at a time"


def test_as_json() -> None:
    """Everything is there, and all of it is JSON: no infinity, no NaN."""
    closed = policy(
        f'{THREE}, {{ name = "closed", rate = "0/minute" }}',
        '[[overrides]]\norganization = "c1"\nlimits = { closed = "1/minute" }',
    )
    against = Against(1, 0, 0, 2, 0, [Changed("organization=c9", 2, 0, T)])
    made = report(
        closed, ASKED, against, unreadable={"not of this format": 3}, late=1, beyond=2, unknown=["Holds are not known."]
    )
    whole = json.loads(json.dumps(made.as_json(), allow_nan=False))
    assert whole["verdict"] == made.verdict
    assert (whole["callers"], whole["callers_denied"], whole["denied"]) == (100, 100, 549)
    assert whole["first_denial"] == {"at_ms": T, "caller": "organization=c0"}
    assert whole["limits"][0]["peaks"][0] == [1, 10]
    assert whole["limits"][0]["denied_alone"] == 70
    assert whole["limits"][0]["toml"]["p99"] == 'rate = "10/minute"  # requests of [tiers.basic]'
    assert whole["limits"][1]["peak_of_max"]["100"] is None
    assert whole["against"]["policy"] == "other.toml"
    assert whole["against"]["callers"][0]["name"] == "organization=c9"
    assert whole["hits"][0]["pattern"] == "one burst"
    assert whole["patterns"] == dict(made.found.patterns)
    assert sum(whole["patterns"].values()) == 100
    assert whole["in_flight"] == sorted(map(list, made.found.in_flight.items()))
    assert (sum(whole["week"]), sum(whole["week_denied"])) == (550, 549)
    assert whole["not_understood"] == [
        "3 lines: not of this format (0.55 %)",
        "1 line so far out of order that they were decided later than they came",
        "2 requests of callers above the bound (--max-callers), not decided",
    ]
    assert "Holds are not known." in whole["fine_print"]
    assert whole["log"]["unreadable"] == {"not of this format": 3}
    assert (whole["log"]["files"], whole["log"]["lines"]) == (["access.log"], 550)
    assert "against" not in report(policy(THREE), []).as_json()
    assert report(policy(THREE), []).as_json()["first_denial"] is None


def fine_print(of: Any, asked: list[Asked], **summary: Any) -> str:
    return " ".join(report(of, asked, **summary).fine_print)


def test_fine_print() -> None:
    """What the answer can't know is said where it matters, and nowhere else."""
    plain = fine_print(policy(THREE), ASKED)
    assert "upper bound" not in plain
    assert "asks otherwise" in plain
    assert "does not say how long" in plain
    assert "multiple" not in plain
    of = policy(f'{THREE}, {{ name = "failed", rate = "(2 * seats)/hour", charge_on = ["4xx"] }}')
    timed = [Asked(T, who("a", seats=1), took=5, status=404), Asked(T + HOUR, who("b", seats=2), took=5, status=404)]
    told = fine_print(of, timed)
    assert "upper bound" in told
    assert "multiple of each one's own" in told
    assert "failed: what a status gives back" in told
    assert "does not say how long" not in told


def test_what_has_no_curve() -> None:
    """A limit that an endpoint declares is named; points that were not counted are not told as counted."""
    of = policy(THREE)
    made = report(of, ASKED)
    made.found.limits["basic", "exports"] = OfLimit()
    made.found.limits["basic", "requests"].uncounted = 1
    from ratelimit.simulate.report.report import report_of

    again = report_of("x", of, made.found, made.summary)
    assert "exports: an endpoint declares it" in " ".join(again.fine_print)
    assert "were not counted where more than 20,000" in " ".join(again.fine_print)
    assert {point.requests for point in again.curves[0].points} == {None}


def test_of_tiers() -> None:
    """Each tier has curves of its own, in the order of the policy; a limit that nobody met has none."""
    tiers = [f'[tiers.{name}]\nlimits = [{{ name = "ip", rate = "{most}/minute" }}]' for name, most in TIERS]
    of = parse_policy("\n".join(tiers), "test.toml")
    assert [(curve.tier, curve.present) for curve in report(of, ASKED).curves] == [("basic", 4)]


def test_of_several_processes() -> None:
    """What each of them has found is one answer, of both policies where there are two."""
    of = policy(THREE)
    parts = [
        watched(of, [one for one in ASKED if (one.who.organization or "")[-1] in digits])
        for digits in ("02468", "13579")
    ]
    replayed = Replayed(Summary(), [[part] for part in parts], [Against(newly=1), Against(newly=2)])
    made = answered("new.toml", of, replayed, other="old.toml")
    assert (made.found.callers, made.found.callers_denied) == (100, 70)
    assert made.against is not None
    assert (made.other, made.against.newly) == ("old.toml", 3)
    assert answered("new.toml", of, replayed).against is None
