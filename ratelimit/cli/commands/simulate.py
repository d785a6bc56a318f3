"""`ratelimit simulate`: what a policy would have done to the requests of access logs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ratelimit.cli.input.apps import AppOption, app_of
from ratelimit.cli.input.logs import LogFormat, opened
from ratelimit.cli.input.policies import FileArgument, called, read_once, text_of
from ratelimit.cli.input.written import check_apart
from ratelimit.cli.output.console import console
from ratelimit.cli.output.exits import FINDINGS, FINE, Stopped
from ratelimit.cli.output.formats import Format, FormatOption, annotate, emit_json
from ratelimit.cli.output.progress import progress

if TYPE_CHECKING:
    from ratelimit.policy import Policy
    from ratelimit.simulate.events import Replayed
    from ratelimit.simulate.logs.sources import Source
    from ratelimit.simulate.run import Task

EXAMPLES = """
  ratelimit simulate ratelimit.toml access.log
  ratelimit simulate ratelimit.toml access.log.*.gz --html report.html
  ratelimit simulate ratelimit.toml access.log --against old.toml
  ratelimit simulate new.toml app.jsonl --map organization=$.org
  zcat access.log.*.gz | ratelimit simulate ratelimit.toml -

Lines that are written in another way, as nginx's log_format has it:

  ratelimit simulate ratelimit.toml access.log \\
    --pattern '$http_x_org [$msec] "$request" $status $request_time' \\
    --map 'organization=$http_x_org'
"""


def simulate(
    file: FileArgument,
    logs: Annotated[
        list[str], typer.Argument(metavar="LOG", help="Access logs, also .gz and .zst; - is standard input.")
    ],
    log_format: Annotated[
        LogFormat | None, typer.Option("--log-format", help="Without it, by the look of the first lines.")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option("--pattern", help="A format of your own: an expression with named groups, or nginx's log_format."),
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=WHERE", help="Who calls: organization=$.org, user=$group, tier=gold."),
    ] = None,
    timezone: Annotated[str, typer.Option("--timezone", help="Of times without an offset.")] = "UTC",
    verdicts: Annotated[
        str | None, typer.Option("--verdicts", metavar="FILE", help="A line of JSON for each request.")
    ] = None,
    html: Annotated[str | None, typer.Option("--html", metavar="FILE", help="The whole answer as one page.")] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="FILE", help="Another policy: who is denied newly, who no longer."),
    ] = None,
    app: AppOption = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Processes.")] = 1,
    max_callers: Annotated[
        int | None, typer.Option("--max-callers", min=1, help="More are not simulated, and told: 2 kB of memory each.")
    ] = None,
    format: FormatOption = Format.TEXT,  # noqa: A002
) -> None:
    """Tell what a policy would have done to the requests of access logs, each at the instant at which it came.

    Who would be denied, by which limit and how often, and what each other max would have done. The policy's own rules
    say who asks and what for. Nothing is sent anywhere, and no store is asked.

    Exit 1 is that somebody would be denied.
    """
    from ratelimit.simulate.analysis.pair import Comparing
    from ratelimit.simulate.analysis.watching import Watching
    from ratelimit.simulate.deciding.replay import MOST_CALLERS
    from ratelimit.simulate.run import PolicyText, Task

    read_once(file, *logs, against)
    policy_files = [one for one in (file, against) if one is not None]
    rules = [PolicyText(text_of(one), called(one)) for one in policy_files]
    policies = [one.policy() for one in rules]
    if app is not None:
        app_of(app, *policies)  # now, where it can be told what is wrong with it
    check_apart(policy_files, logs, {"--verdicts": verdicts, "--html": html})
    with opened(logs, log_format, pattern, mapping or (), timezone) as read:
        task = Task(
            policy=rules[0],
            files=tuple(logs),
            formats=read.formats,
            begins=read.begins,
            sizes=tuple([source.size for source in read.sources]),
            guessed=read.guessed,
            mapped=read.mapped,
            zone=timezone,
            app=None if app is None else partial(app_of, app),
            most_callers=max_callers or MOST_CALLERS,
            verdicts=verdicts,
            observer_of=Watching,
            other=rules[1] if against is not None else None,
            pair_of=Comparing if against is not None else None,
        )
        replayed = _run(task, read.sources, jobs, policies)
    _answer(file, against, policies[0], replayed, html, format, with_app=app is not None)


def _run(task: Task, sources: Sequence[Source], jobs: int, policies: Sequence[Policy]) -> Replayed:
    from ratelimit.simulate.jobs import agreed, in_parallel
    from ratelimit.simulate.run import Share

    if jobs > 1 and not agreed(*policies):
        raise Stopped("--jobs: the two policies tell callers apart in different ways; leave --jobs out")
    sizes = [source.size for source in sources]
    size = None if None in sizes else sum(filter(None, sizes))
    with progress(size) as tell:
        replayed = in_parallel(task, jobs, tell) if jobs > 1 else Share(task, tell, sources).run()
    if not replayed.summary.understood:
        why = ", ".join(f"{count:,} {reason}" for reason, count in replayed.summary.unreadable.items())
        why = why or "all of them were taken away meanwhile"
        raise Stopped(f"no line of {', '.join(replayed.summary.files)} was understood: {why}")
    return replayed


def _answer(
    file: str,
    against: str | None,
    policy: Policy,
    replayed: Replayed,
    html: str | None,
    form: Format,
    *,
    with_app: bool,
) -> None:
    from ratelimit.simulate.deciding.unknown import unknown
    from ratelimit.simulate.report.page import page
    from ratelimit.simulate.report.report import answered

    replayed.summary.unknown = unknown(policy, replayed.summary, with_app=with_app)
    report = answered(called(file), policy, replayed, other=None if against is None else called(against))
    if html is not None:
        try:
            Path(html).write_text(page(report), encoding="utf-8")
        except OSError as error:
            raise Stopped(f"--html {html}: can't be written: {error.strerror or error}") from None
    denied = report.found.callers_denied
    if form is Format.JSON:
        emit_json("simulate", report.as_json())
    elif form is Format.GITHUB:
        annotate("warning" if denied else "notice", report.verdict, file=called(file))
    else:
        from ratelimit.cli.output.simulation import show

        show(report, console())
    raise typer.Exit(FINDINGS if denied else FINE)
