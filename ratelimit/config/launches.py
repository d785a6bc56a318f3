"""A launch as a file has it becomes a Launch."""

from __future__ import annotations

from ratelimit.config.grammar.fields import client_ip
from ratelimit.config.grammar.launches import IN_COHORT, CohortTable, LaunchTable, milliseconds
from ratelimit.launches.stages.launch import Cohort, Launch
from ratelimit.model import FOREVER


def launch_of(table: LaunchTable, ipv6_prefix: int) -> Launch:
    """`ipv6_prefix` is how many bits of an address a caller is counted by."""
    return Launch(
        shadow_until_ms=FOREVER if table.shadow_until is None else milliseconds(table.shadow_until),
        warn=table.warn,
        brownouts=tuple(table.brownouts),
        cohorts=tuple([_cohort(cohort, ipv6_prefix) for cohort in table.cohorts]),
    )


def _cohort(table: CohortTable, ipv6_prefix: int) -> Cohort:
    values = {kind: getattr(table, kind) for kind in IN_COHORT if kind != "attributes"}
    match: dict[str, str | int] = {kind: value for kind, value in values.items() if value is not None}
    if table.ip is not None:
        match["ip"] = client_ip(table.ip, ipv6_prefix)
    return Cohort(milliseconds(table.starts), {**match, **table.attributes}, 1 if table.share is None else table.share)
