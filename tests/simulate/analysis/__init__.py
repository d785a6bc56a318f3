"""The analysis of a simulation, of requests that a test makes up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ratelimit import Identity, Policy, parse_policy
from ratelimit.simulate.analysis.found import Found
from ratelimit.simulate.analysis.watching import Watching
from ratelimit.simulate.deciding.replay import Replay

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z, a Sunday
MINUTE, HOUR = 60_000, 3_600_000
ANONYMOUS = "[tiers.anonymous]\nlimits = []\n"


class Asked(NamedTuple):
    """A request of a log."""

    at: int
    who: Identity
    operation: str = "search"
    took: int = 0
    status: int = 200
    call: bytes = b"GET /"


class _Operations:
    def said(self, said: tuple[str, int]) -> str:
        return said[0]


def policy(limits: str, more: str = "") -> Policy:
    """With these limits of the tier `basic`."""
    return parse_policy(f"{ANONYMOUS}[tiers.basic]\nlimits = [ {limits} ]\n{more}", "test.toml")


def who(name: str, **attributes: Any) -> Identity:
    return Identity(organization=name, tier="basic", attributes=attributes)


def watched(of: Policy, asked: Sequence[Asked]) -> Found:
    """What is found of these requests, in order of arrival."""
    watching = Watching(of)
    identities = {repr(one.who): one.who for one in asked}
    replay = Replay(of, identities.__getitem__, _Operations(), watching.saw)  # type: ignore[arg-type]
    for line, one in enumerate(sorted(asked, key=lambda one: one.at), 1):
        replay.step((one.at, 0, line, one.took, one.call, one.status, repr(one.who), (one.operation, 1)))
    return watching.result()
