"""What of a limit holds for a caller from when on, by its launch and by the overrides that match the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ratelimit.launches.stages.launch import Cohort, position
from ratelimit.launches.stages.timeline import Maxes, Stages, edges, enforced_by, timeline
from ratelimit.model import FOREVER, Identity, Limit
from ratelimit.policy.keys import value_of
from ratelimit.policy.overrides import Override

IN_SHADOW: Stages = ((FOREVER, False),)


def maxes_of(limit: Limit, overrides: Sequence[Override], attributes: Mapping[str, str | int]) -> Maxes:
    """The max until each of some instants: the last override first, and where it does not hold the one before it."""
    own = [override for override in overrides if limit.name in override.maxes]
    if any(override.from_ms for override in own):

        def at(now_ms: int) -> int:
            there = next((one for one in own if one.from_ms <= now_ms < one.until_ms), None)
            return limit.max(attributes) if there is None else there.maxes[limit.name](attributes)

        return timeline([edge for one in own for edge in (one.from_ms, one.until_ms)], at)
    steps = []
    covered = 0
    for override in own:
        if override.until_ms > covered:
            covered = min(override.until_ms, FOREVER)
            steps.append((covered, override.maxes[limit.name](attributes)))
    if covered < FOREVER:
        steps.append((FOREVER, limit.max(attributes)))
    return tuple(steps)


def stages_of(
    limit: Limit, identity: Identity, tier: str | None, overrides: Sequence[Override], *, paused: bool
) -> Stages:
    """Whether the limit is enforced until each of some instants; (): as its own mode says."""
    launch = limit.launch
    if launch is None and not overrides:
        return ()
    if launch is not None and paused:
        return IN_SHADOW
    own = [one for one in overrides if one.mode and (limit.name in one.maxes or limit.name in one.limits)]
    if launch is None and not own:
        return ()
    instants = [edge for one in own for edge in (one.from_ms, one.until_ms)]
    if launch is not None:
        base = enforced_by(launch, lambda cohort: is_in(cohort, identity, tier))
        instants += edges(launch)
    else:
        base = _by_mode(limit)
        instants.append(limit.enforce_from_ms)

    def at(now_ms: int) -> bool:
        mode = next((one.mode for one in own if one.from_ms <= now_ms < one.until_ms), None)
        return base(now_ms) if mode is None else mode == "enforce"

    return timeline(instants, at)


def is_in(cohort: Cohort, identity: Identity, tier: str | None) -> bool:
    for kind, value in cohort.match.items():
        if (tier if kind == "tier" else value_of(identity, kind)) != value:
            return False
    return cohort.share >= 1 or position(*identity.root) < cohort.share


def looked_at(limits: Sequence[Limit]) -> Iterator[str]:
    """What launches go by of a caller, besides its root."""
    for limit in limits:
        for cohort in limit.launch.cohorts if limit.launch else ():
            yield from cohort.match


def _by_mode(limit: Limit) -> Callable[[int], bool]:
    return lambda now_ms: limit.mode == "enforce" and now_ms >= limit.enforce_from_ms
