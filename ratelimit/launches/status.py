"""Where the launches of a policy are at an instant: as data, which a command shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from ratelimit.launches.stages.launch import Launch
from ratelimit.model import FOREVER, Limit
from ratelimit.policy import Policy
from ratelimit.policy.keys import escaped

What = Literal["shadow", "brownout", "cohort", "enforced"]
When = Literal["over", "now", "to come"]


class Stage(NamedTuple):
    """`until_ms` is FOREVER where it does not end; `who` is empty where it is for all."""

    what: What
    since_ms: int
    until_ms: int
    who: str = ""

    def when(self, now_ms: int) -> When:
        return "to come" if now_ms < self.since_ms else "now" if now_ms < self.until_ms else "over"


class LimitStatus(NamedTuple):
    """`now` is what holds for all but the cohorts that have begun; `stages` are in the order in which they begin."""

    tier: str
    name: str
    warn: float | None
    now: What
    stages: list[Stage]


class Mode(NamedTuple):
    """An override that has a mode."""

    who: str
    limits: list[str]
    mode: str
    since_ms: int
    until_ms: int
    reason: str

    def when(self, now_ms: int) -> When:
        return Stage("shadow", self.since_ms, self.until_ms).when(now_ms)


def statuses(policy: Policy, now_ms: int) -> list[LimitStatus]:
    return [_status(tier, limit, limit.launch, now_ms) for tier, limit in _launched(policy) if limit.launch]


def modes(policy: Policy) -> list[Mode]:
    """Of limits that are launched, the last first, as it wins."""
    launched = {limit.name for _, limit in _launched(policy)}
    found = []
    for override in reversed(policy.overrides):
        limits = sorted(launched.intersection([*override.maxes, *override.limits]))
        if override.mode and limits:
            who = _who(override.match)
            found.append(Mode(who, limits, override.mode, override.from_ms, override.until_ms, override.reason))
    return found


def _launched(policy: Policy) -> Iterator[tuple[str, Limit]]:
    for tier, limits in policy.tiers.items():
        yield from ((tier, limit) for limit in limits if limit.launch is not None)


def _status(tier: str, limit: Limit, launch: Launch, now_ms: int) -> LimitStatus:
    end = launch.shadow_until_ms
    stages = [Stage("shadow", 0, end)] if end > 0 else []
    stages += [
        Stage("brownout", one.since_ms, min(one.until_ms, end)) for one in launch.brownouts if one.since_ms < end
    ]
    stages += [Stage("cohort", one.from_ms, end, one.who) for one in launch.cohorts if one.from_ms < end]
    stages += [Stage("enforced", end, FOREVER)] if end < FOREVER else []
    stages.sort(key=lambda stage: stage.since_ms)
    for_all = [stage.what for stage in stages if stage.what != "cohort" and stage.when(now_ms) == "now"]
    return LimitStatus(tier, limit.name, launch.warn, for_all[-1], stages)


def _who(match: Mapping[str, str | int]) -> str:
    """`organization=acme user=ana`, a name as in a key of the store: an API key is there by a hash alone."""
    return " ".join(f"{kind}={escaped(kind, str(value))}" for kind, value in match.items())
