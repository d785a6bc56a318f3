"""`ratelimit diff`: what changes, and for whom, where one policy takes the place of another."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ratelimit.cli.input.apps import AppOption, app_of
from ratelimit.cli.input.instants import AtOption, at_ms
from ratelimit.cli.input.policies import called, policy_of, read_once
from ratelimit.cli.output.console import say, show_table
from ratelimit.cli.output.exits import FINDINGS
from ratelimit.cli.output.formats import Format, FormatOption, Level, annotate, emit_json
from ratelimit.comparison.callers import Affected, Differs
from ratelimit.comparison.whole import Comparison, compare

EXAMPLES = """
  ratelimit diff ratelimit.toml new.toml
  git show HEAD:ratelimit.toml | ratelimit diff - ratelimit.toml
  ratelimit diff ratelimit.toml new.toml --app main:app
"""

OldArgument = Annotated[str, typer.Argument(metavar="OLD", help="The policy that is in force; - is standard input.")]
NewArgument = Annotated[str, typer.Argument(metavar="NEW", help="The one that is to take its place.")]


def diff(
    old: OldArgument,
    new: NewArgument,
    app: AppOption = None,
    at: AtOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Compare two policies: what changes, for whom, and which counters begin at 0.

    Exit 0 is that nothing changes for anybody, 1 that something does, as of diff(1).
    """
    read_once(old, new)
    before, after = policy_of(old), policy_of(new)
    found = compare(before, after, at_ms(at), None if app is None else app_of(app, before, after))
    if output is Format.JSON:
        payload = asdict(found)
        emit_json("diff", {"old": called(old), "new": called(new), "changed": bool(found), **payload})
    elif output is Format.GITHUB:
        for change in found.changes:
            level: Level = "warning" if change.anew or change.effect in {"lowered", "removed"} else "notice"
            annotate(level, change.sentence, file=called(new))
        for group in found.callers:
            if group.tiers[0] != group.tiers[1]:
                annotate("notice", _whom(group), file=called(new))
    else:
        _tell(found)
    if found:
        raise typer.Exit(FINDINGS)


def _tell(found: Comparison) -> None:
    if not found:
        say("Nothing changes for anybody.", "bold green")
        return
    if found.changes:
        say("What changes:", "bold")
        for change in found.changes:
            say(f"  {change.sentence}")
        say("")
        show_table(
            ("what", "before", "after", "counters"),
            [
                (change.where, _side(change.before), _side(change.after), "begin at 0" if change.anew else "go on")
                for change in found.changes
            ],
        )
        say("")
    say("For whom:" if found.callers else "For no caller that the files know anything comes out another way.", "bold")
    for group in found.callers:
        _tell_of(group)


def _tell_of(group: Affected) -> None:
    say(f"  {_whom(group)}")
    for one in group.limits:
        say(f"    {one.limit}: {_told(one)}")


def _whom(group: Affected) -> str:
    more = f" and {group.count - len(group.callers)} more" if group.count > len(group.callers) else ""
    return f"{_tiers(*group.tiers)}: {', '.join(group.callers)}{more}"


def _tiers(before: str | None, after: str | None) -> str:
    if before is None:
        return f"new keys of tier {after}, anonymous until now"
    if after is None:
        return f"keys of tier {before} that are known no more, and so anonymous"
    return f"tier {after}" if before == after else f"from tier {before} to tier {after}"


def _told(one: Differs) -> str:
    if one.before is None or one.after is None:
        return f"{one.after}, and nothing before" if one.after else f"no more, before {one.before}"
    anew = ", and begins at 0" if one.anew else ""
    return f"{one.before} as before{anew}" if one.before == one.after else f"{one.before} → {one.after}{anew}"


def _side(text: str | None) -> str:
    return "" if text is None else text
