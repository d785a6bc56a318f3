"""What holds from when on: steps of an instant and what holds until it, in their order; the last is FOREVER."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ratelimit.checks.values import LARGEST
from ratelimit.launches.stages.launch import Cohort, Launch

T = TypeVar("T")
Maxes = tuple[tuple[int, int], ...]
Stages = tuple[tuple[int, bool], ...]  # until when, and whether the limit is enforced until then


def timeline(edges: Iterable[int], at: Callable[[int], T]) -> tuple[tuple[int, T], ...]:
    """Steps of what is `at` an instant, and changes at `edges` alone. Neighbours that are equal are one."""
    steps: list[tuple[int, T]] = []
    since = 0
    for until in (*sorted({edge for edge in edges if 0 < edge < LARGEST}), LARGEST):
        value = at(since)
        if steps and steps[-1][1] == value:
            steps.pop()
        steps.append((until, value))
        since = until
    return tuple(steps)


def edges(launch: Launch) -> list[int]:
    """The instants at which a launch changes something for somebody."""
    windows = [edge for window in launch.brownouts for edge in (window.since_ms, window.until_ms)]
    return [*windows, *(cohort.from_ms for cohort in launch.cohorts), launch.shadow_until_ms]


def enforced_by(launch: Launch, has: Callable[[Cohort], bool]) -> Callable[[int], bool]:
    """Whether a limit is enforced at an instant, for a caller who is in the cohorts that it `has`."""
    own = [cohort.from_ms for cohort in launch.cohorts if has(cohort)]
    final = min([launch.shadow_until_ms, *own])

    def at(now_ms: int) -> bool:
        return now_ms >= final or any(one.since_ms <= now_ms < one.until_ms for one in launch.brownouts)

    return at


def value_at(steps: Sequence[tuple[int, T]], now_ms: int) -> T:
    return next((value for until, value in steps if now_ms < until), steps[-1][1])


def staged(maxes: Maxes, stages: Stages, now_ms: int) -> tuple[int, int, int, int, Maxes]:
    """Of a charge at an instant: its max; until when it is in shadow, 0 where it is enforced, FOREVER if for good; the
    interval in which that holds; and the maxes that come after it.

    Who is denied in a brownout passes when it ends: a limit in shadow has from then on no max that denies, FOREVER.
    """
    instants = [until for until, _ in (*maxes, *stages)]
    steps = timeline(instants, lambda at: (value_at(maxes, at), value_at(stages, at)))
    here = next((number for number, (until, _) in enumerate(steps) if now_ms < until), len(steps) - 1)
    until, (maximum, enforced) = steps[here]
    shadow_until = 0 if enforced else LARGEST
    later: list[tuple[int, int]] = []
    start, known = until, maximum
    for ends, (own, holds) in steps[here + 1 :]:
        if holds and shadow_until == LARGEST:
            shadow_until = start
        admits = own if holds or shadow_until == LARGEST else LARGEST
        if admits != known:
            later.append((start, admits))
        start, known = ends, admits
    return maximum, shadow_until, steps[here - 1][0] if here else 0, until, tuple(later)
