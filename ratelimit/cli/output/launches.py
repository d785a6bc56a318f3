"""Launches on a terminal: stages with their instants, and callers by what they would have been denied."""

from __future__ import annotations

from collections.abc import Sequence

from ratelimit.cli.output.console import say
from ratelimit.ground.times import second
from ratelimit.launches.report import LimitReport, Row
from ratelimit.launches.shared import Gathered, Word
from ratelimit.launches.status import LimitStatus, Mode, Stage
from ratelimit.model import FOREVER

_SAID = {
    "shadow": "in shadow",
    "brownout": "in a brownout, enforced for all",
    "cohort": "enforced",
    "enforced": "enforced",
}
_STYLES = {"over": "dim", "now": "bold", "to come": ""}


def told_status(limits: Sequence[LimitStatus], overrides: Sequence[Mode], now_ms: int, word: Word | None) -> None:
    say(f"It is {second(now_ms)}.")
    paused = word is not None and word.paused
    if word is not None and word.paused:
        what = "every limit below is in shadow, until ratelimit launch resume"
        say(f"Launches are PAUSED since {second(word.at_ms)}: {what}.", "bold yellow")
    for limit in limits:
        say("")
        now = "in shadow, paused" if paused else _SAID[limit.now]
        say(f"{limit.name} of {limit.tier}: {now}", "bold")
        if limit.warn is not None:
            say(f"  warns from {100 * limit.warn:.6g} % of the max on, while it is in shadow")
        for stage in limit.stages:
            when = stage.when(now_ms)
            say(f"  {when:7}  {stage.what:8}  {_stage(stage)}", _STYLES[when])
    for mode in overrides:
        say("")
        begins = f" from {second(mode.since_ms)}" if mode.since_ms else ""
        until = "" if mode.until_ms >= FOREVER else f" until {second(mode.until_ms)}"
        what = "always enforced" if mode.mode == "enforce" else "always in shadow"
        reason = f": {mode.reason}" if mode.reason else ""
        say(f"{', '.join(mode.limits)} of {mode.who} is {what}{begins}{until}{reason}", _STYLES[mode.when(now_ms)])


def _stage(stage: Stage) -> str:
    """When it is, and for whom; the first shadow has no beginning, and what is enforced no end."""
    if stage.what == "shadow":
        return "for good: there is no shadow_until" if stage.until_ms >= FOREVER else f"until {second(stage.until_ms)}"
    if stage.what == "brownout":
        return f"{second(stage.since_ms)} to {second(stage.until_ms)}"
    return f"from {second(stage.since_ms)}{f' for {stage.who}' if stage.who else ''}"


def told_report(gathered: Gathered) -> None:
    if not gathered.limits:
        say("No process has written of a would-be denial within the last week.")
    for one in gathered.limits:
        say(f"{one.name} ({one.period}) would have denied {one.denials:,} requests", "bold")
        say(f"  {'requests':>17}  {'needs a max of':>14}  {'last':23}  caller")
        for row in one.rows:
            say(f"  {_count(row):>17}  {_needs(row):>14}  {second(row.last_ms)}  {row.caller}")
        say(f"  {_others(one)}")
        say("")
    if gathered.processes:
        who = "1 process" if gathered.processes == 1 else f"{gathered.processes:,} processes"
        say(f"Written by {who} within the last week.")
    if gathered.unread:
        what = "1 report" if gathered.unread == 1 else f"{gathered.unread:,} reports"
        say(f"{what} can't be read: written by another version of ratelimit, or by somebody else.")


def _count(row: Row) -> str:
    return f"{row.denials:,}" if row.surely == row.denials else f"{row.surely:,} to {row.denials:,}"


def _needs(row: Row) -> str:
    if row.needs is None:
        return "unknown"
    return f"{row.needs:,}" if row.surely == row.denials else f"{row.needs:,} or more"


def _others(one: LimitReport) -> str:
    return f"Of others nobody had more than {one.floor:,}." if one.floor else "There were no others."
