"""What the stages of a launch say of each other, and which of them are over."""

from __future__ import annotations

from collections.abc import Iterator
from time import time_ns
from typing import NamedTuple

from ratelimit.checks.values import BESIDE_LAUNCH
from ratelimit.config.checks.limits import limits_of
from ratelimit.config.grammar.fields import client_ip
from ratelimit.config.grammar.launches import IN_COHORT, CohortTable, LaunchTable, milliseconds
from ratelimit.config.grammar.messages import Path, Problem
from ratelimit.config.grammar.valid import Valid
from ratelimit.ground.times import second
from ratelimit.ground.words import listed
from ratelimit.launches.stages.launch import Brownout
from ratelimit.launches.stages.wrong import together
from ratelimit.model import FOREVER


def now_ms() -> int:
    """The clock of this process: what is over by it is only told."""
    return time_ns() // 1_000_000


class _Stage(NamedTuple):
    from_ms: int
    match: dict[str, str | int]
    share: float


class _Stages(NamedTuple):
    shadow_until_ms: int
    brownouts: list[Brownout]
    cohorts: list[_Stage]


def check_launches(valid: Valid) -> Iterator[Problem]:
    for path, limit in limits_of(valid):
        given = valid.given(path)
        if "launch" not in given:
            continue
        where = (*path, "launch")
        if "from" in given:
            yield Problem((*path, "from"), BESIDE_LAUNCH)
        if limit.mode != "enforce":
            yield Problem((*path, "mode"), BESIDE_LAUNCH)
        if limit.launch is not None:
            yield from _check_cohorts(valid, where, limit.launch)
            if not any(dropped[: len(where)] == where for dropped in valid.dropped):
                yield from _check_stages(where, limit.launch)


def _check_cohorts(valid: Valid, where: Path, launch: LaunchTable) -> Iterator[Problem]:
    for path, cohort in valid.numbered((*where, "cohorts"), launch.cohorts):
        if valid.given(path) <= {"from"}:
            yield Problem(path, f"is for nobody; write share, or one or more of {listed(IN_COHORT)}")
        if cohort.share == 1 and valid.given(path).isdisjoint(IN_COHORT):
            yield Problem((*path, "share"), "is everybody; write shadow_until, from which on the limit is for all")
        if cohort.ip is not None:
            try:
                client_ip(cohort.ip, valid.file.identity.ipv6_prefix)
            except ValueError as error:
                yield Problem((*path, "ip"), str(error))


def _check_stages(where: Path, launch: LaunchTable) -> Iterator[Problem]:
    """Of one that could be read whole."""
    until_ms = FOREVER if launch.shadow_until is None else milliseconds(launch.shadow_until)
    cohorts = [_Stage(milliseconds(one.starts), _match(one), one.share or 1) for one in launch.cohorts]
    for found in together(_Stages(until_ms, launch.brownouts, cohorts)):
        yield Problem((*where, *found.at), found.message, odd="stage-without-effect" if found.odd else "")
    now = now_ms()
    if until_ms <= now:
        why = f"is over since {second(until_ms)}: the limit is enforced for all; take launch out"
        yield Problem(where, why, odd="stage-over")
        return
    for number, window in enumerate(launch.brownouts):
        if window.until_ms <= now:
            yield Problem((*where, "brownouts", number), f"is over since {second(window.until_ms)}", odd="stage-over")


def _match(cohort: CohortTable) -> dict[str, str | int]:
    values = {kind: getattr(cohort, kind) for kind in IN_COHORT if kind != "attributes"}
    return {**{kind: value for kind, value in values.items() if value is not None}, **cohort.attributes}
