"""A limit that is launched, explained for one caller at each stage; and what its own usage tells of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from ratelimit import parse_policy
from ratelimit.explanation.caller import by_pairs
from ratelimit.explanation.whole import explain
from tests.acceptance import ANA
from tests.routes import marks_forgotten
from tests.usage import Asked

__all__ = ["marks_forgotten"]

TEXT = """
[tiers.anonymous]
limits = []

[tiers.basic]
limits = [{ name = "requests", rate = "5/minute", launch = { shadow_until = 2027-03-01T00:00:00Z, brownouts = ["2027-01-12T09:00Z/3h"], cohorts = [{ organization = "acme", from = 2027-02-10T00:00:00Z }] } }]

[[overrides]]
organization = "acme"
limits = { requests = "9/minute" }
from = 2027-01-01T00:00:00Z
"""  # noqa: E501 - an inline table is one line in TOML
STAGES = [
    ("2026-12-01T00:00:00Z", "in shadow until 2027-01-12T09:00:00Z", "5/minute"),
    ("2027-01-12T09:00:00Z", "enforced until 2027-01-12T12:00:00Z", "9/minute"),
    ("2027-01-12T12:00:00Z", "in shadow until 2027-02-10T00:00:00Z", "9/minute"),
    ("2027-02-10T00:00:00Z", "enforced", "9/minute"),
]


def ms(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1000)


@pytest.mark.parametrize(("at", "mode", "allows"), STAGES)
def test_stages(monkeypatch: Any, at: str, mode: str, allows: str) -> None:
    """What holds is told with its end; and the caller itself is told of the limit only where it is enforced for it."""
    policy = parse_policy(TEXT, "launched")
    caller = by_pairs(policy, ["organization=acme", "tier=basic"])
    [limit] = explain(policy, caller, "GET", "/x", ms(at)).limits
    assert (limit.mode, limit.allows) == (mode, allows)
    asked = Asked(monkeypatch, policy, identify=lambda scope: caller.identity)
    asked.now = ms(at)
    told = asked.get(key=ANA).json()["resources"]
    assert {name: one["limit"] for name, one in told.items()} == ({"requests": 9} if "enforced" in mode else {})
