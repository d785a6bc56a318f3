"""What a log can't tell of a policy: said beside every answer, so that nobody takes it for known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ratelimit.ground.printable import in_a_line
from ratelimit.ground.words import listed, shown
from ratelimit.model import Concurrency, Limit, Quota
from ratelimit.policy import Policy
from ratelimit.simulate.events import Summary

LISTED = 5  # names


def unknown(policy: Policy, summary: Summary, *, with_app: bool) -> list[str]:
    """A sentence each: how the logs were read, and what is not known."""
    limits = [limit for of in policy.tiers.values() for limit in of if limit.mode != "off"]
    return [
        *_of_the_logs(summary),
        *_of_limits(limits, summary),
        *_of_the_policy(policy, Counter(summary.facts), with_app=with_app),
        *_of_the_lines(Counter(summary.facts)),
    ]


def _of_the_logs(summary: Summary) -> Iterator[str]:
    by_format: dict[str, list[str]] = {}
    for file, name in zip(summary.files, summary.formats, strict=True):
        by_format.setdefault(name, []).append(file)
    for name, files in by_format.items():
        which = in_a_line(files[0]) if len(files) == 1 else f"{len(files):,} files"
        how = " by the look of the first lines; --log-format says otherwise" if summary.guessed else ""
        yield f"{which} read as {name}{how}"
    for file in summary.cut:
        yield f"{in_a_line(file)} is cut off: damaged, or shortened while it was read; what came before that counted"


def _of_limits(limits: list[Limit], summary: Summary) -> Iterator[str]:
    if held := [limit for limit in limits if limit.hold]:
        yield f"{_names(held)}: what the app holds and settles is in no log; only what is taken at the door counted"
    by_hand = [limit for limit in limits if limit.operations is not None and not limit.operations]
    if by_hand:
        yield f"{_names(by_hand)}: charged by hand alone, which is in no log; nothing counted"
    if (slots := [limit for limit in limits if isinstance(limit.kind, Concurrency)]) and not summary.timed:
        yield f"{_names(slots)}: the log has no durations, so that no request was there at the time of another"
    if calendars := _of_two_calendars(limits):
        yield f"{_names(calendars)}: counted in periods of several calendars; a caller of two tiers in the first one's"
    if statuses := [limit for limit in limits if limit.charge_on or limit.refund_on]:
        yield f"{_names(statuses)}: by the status in the log; units went back when a request was over"


def _of_the_policy(policy: Policy, facts: Counter[str], *, with_app: bool) -> Iterator[str]:
    if not with_app:
        yield "units and limits that endpoints declare in code are not known without --app; each request counted once"
    if facts["computed"]:
        yield "some endpoints compute how many units a request takes; each counted as one"
    if facts["declared"]:
        yield f"{facts['declared']:,} requests were charged to limits that their endpoints declare; say --app"
    if policy.waits:
        tiers = listed(shown(name) for name in policy.waits)
        yield f"tiers with wait ({tiers}): what may have waited was denied at once"
    if policy.websocket.messages:
        yield "messages of WebSockets are in no log; only handshakes counted"


def _of_the_lines(facts: Counter[str]) -> Iterator[str]:
    if facts["preflights"]:
        yield "OPTIONS was taken for a CORS preflight, as a log has no headers"
    if facts["untiered"]:
        callers = "one caller names" if facts["untiered"] == 1 else f"{facts['untiered']:,} callers name"
        yield f"{callers} no tier, and the policy has no default_tier: anonymous counts instead; say --map tier=…"
    if facts["folded"]:
        yield (
            "times without an offset in the hour that clocks went back: both of its passes count as the first, which"
            " looks twice as busy"
        )
    for fact, count in facts.items():
        if fact.startswith("mapped ") and not count:
            yield f"--map {shown(fact.partition(' ')[2])}: no line has it, so that all count as without it"
    if facts["lost"]:
        yield f"{facts['lost']:,} requests could not be written when the log was recorded, and are missing"


def _of_two_calendars(limits: list[Limit]) -> list[Limit]:
    """Quotas of several tiers that share a counter, and differ in time zone or anchor day."""
    quotas = {(limit.name, limit.kind.period): limit.kind for limit in limits if isinstance(limit.kind, Quota)}
    return [
        limit
        for limit in limits
        if isinstance(limit.kind, Quota) and quotas[limit.name, limit.kind.period] != limit.kind
    ]


def _names(limits: list[Limit]) -> str:
    names = [*dict.fromkeys(shown(limit.name) for limit in limits)]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return in_a_line(listed(names[:LISTED]) + more)
