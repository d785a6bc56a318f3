"""The answer of a simulation on a terminal, in 80 columns: the verdict, each limit, who is denied, the fine print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf, log1p
from textwrap import wrap

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ratelimit.ground.printable import printable
from ratelimit.simulate.analysis.found import Hit
from ratelimit.simulate.analysis.pair import Against
from ratelimit.simulate.report.curve import Curve, quantiles_of
from ratelimit.simulate.report.report import Report, toml_at
from ratelimit.simulate.report.words import changes, counted, date, duration, instant, of_max, percent

HITS = 8  # callers that are shown; JSON has a thousand
CURVES = 4  # limits of which the thresholds are shown
HOURS = 3  # of a step of a week
BAR = 24  # columns
QUANTILES = ("90 %", "99 %", "99.9 %", "Highest")  # of callers, besides half of them
STEPS = "▁▂▃▄▅▆▇█"
PLAIN = "12345678"  # where the terminal is not UTF-8
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def show(report: Report, out: Console) -> None:
    """All of it but what only fits into JSON or HTML."""
    for part in _parts(report, out.width, utf8=out.encoding.lower().startswith("utf")):
        out.print(part)


def _parts(report: Report, width: int, *, utf8: bool) -> Iterator[RenderableType]:
    summary, found = report.summary, report.found
    yield Text(printable(report.verdict), "bold")
    if summary.first_ms is not None and summary.last_ms is not None:
        span = duration(summary.last_ms - summary.first_ms)
        whose = f"{counted(found.requests, 'request')} of {counted(found.callers, 'caller')}"
        yield Text(f"{whose} in {span} from {date(summary.first_ms)} UTC", "dim")
    if report.against is not None:
        yield from _against(report.other or "", report.against)
    if report.curves:
        yield Text()
        yield _limits(report.curves)
    for curve in [curve for curve in report.curves if curve.denied_at(curve.present)][:CURVES]:
        yield from _curve(curve, width, utf8=utf8)
    if found.hits:
        yield from _hits(found.hits, found.callers_denied, width, utf8=utf8)
    yield from _used(report.curves)
    yield from _in_flight(found.in_flight)
    yield from _list("Not understood", [*report.lacks, *_samples(report)], width)
    yield from _list("Fine print", report.fine_print, width)


def _title(text: str) -> Text:
    return Text(f"\n{printable(text)}", "bold")


def _table(*columns: str, left: Sequence[int] = (0,)) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, column in enumerate(columns):
        table.add_column(
            column, justify="left" if number in left else "right", no_wrap=True, overflow="ellipsis", max_width=30
        )
    return table


def _said(threshold: float, curve: Curve) -> str:
    if threshold == inf:
        return "any"
    return f"{threshold:,.0f}" if curve.absolute else f"{threshold:g} x"


def _limits(curves: Sequence[Curve]) -> RenderableType:
    table = _table("Limit", "Max", "Callers", "Denied", "Requests", "p99", "p99.9", "Highest")
    for curve in curves:
        shadow = f" ({curve.mode})" if curve.mode else ""
        table.add_row(
            Text(printable(f"{curve.tier}: {curve.name}{shadow}")),
            _said(curve.present, curve),
            f"{curve.total:,}",
            Text(f"{curve.callers_denied:,}", "red" if curve.callers_denied else ""),
            f"{curve.denied or curve.would_deny:,}",
            _said(curve.marks["p99"], curve),
            _said(curve.marks["p99.9"], curve),
            _said(curve.values[-1], curve) if curve.values else "",
        )
    return table


def _curve(curve: Curve, width: int, *, utf8: bool) -> Iterator[RenderableType]:
    """Callers and requests at some thresholds: if there were that limit alone."""
    yield _title(f"{curve.tier}: {curve.name}, alone at another max ({curve.what} now)")
    table = _table("Max", "Callers denied", "Requests denied", "", left=(3,))
    most = log1p(max(curve.denied_at(0), 1))
    for threshold, callers, requests in curve.points:
        bar = ("█" if utf8 else "#") * round(BAR * log1p(callers) / most)
        style = "bold" if threshold == curve.present else ""
        known = "" if requests is None else f"{requests:,} ({percent(requests, curve.requests)})"
        table.add_row(_said(threshold, curve), f"{callers:,}", known, Text(bar, "red" if callers else ""), style=style)
    yield table
    toml = f"  {printable(toml_at(curve, curve.marks['p99.9']))}"
    yield Text("99.9 % of its callers fit in:")
    yield Text(toml if len(toml) <= width else toml.rpartition("  #")[0])  # to be copied: half a comment were none


def _hits(hits: Sequence[Hit], callers: int, width: int, *, utf8: bool) -> Iterator[RenderableType]:
    yield _title("Who is denied")
    yield Text(f"  {'':9}{' '.join(f'{day:<{24 // HOURS}}' for day in DAYS)}".rstrip(), "dim")
    for hit in hits[:HITS]:
        line = Text(printable(hit.name), "bold", overflow="ellipsis", no_wrap=True)
        yield line
        needs = f"needs {hit.needs:,} of {hit.limit}, has {hit.max:,}"
        what = f"{hit.denied:,} of {counted(hit.requests, 'request')}, first {instant(hit.first_ms)}"
        said = f"{what}, blocked for up to {duration(hit.blocked_ms)}; {needs}; {hit.pattern}"
        yield _indented(said, width)
        yield _week("  asked    ", hit.week, "blue", utf8=utf8)
        yield _week("  denied   ", hit.week_denied, "red", utf8=utf8)
    if callers > len(hits[:HITS]):
        yield Text(f"and {counted(callers - len(hits[:HITS]), 'caller')} more (--html, --format json)", "dim")


def _week(name: str, hours: Sequence[int], style: str, *, utf8: bool) -> Text:
    """A step for some hours of the week, UTC."""
    sums = [sum(hours[at : at + HOURS]) for at in range(0, len(hours), HOURS)]
    most, steps = max(sums, default=0), STEPS if utf8 else PLAIN
    drawn = [steps[(len(steps) - 1) * count // most] if count else " " for count in sums]
    per_day = 24 // HOURS
    days = ["".join(drawn[at : at + per_day]) for at in range(0, len(drawn), per_day)]
    return Text(name).append(" ".join(days).rstrip(), style)


def _against(other: str, against: Against) -> Iterator[RenderableType]:
    yield _title(f"Against {other}")
    yield Text(changes(against))
    if against.callers:
        table = _table("Caller", "Denied before", "Denied now", "First difference")
        for one in against.callers[:HITS]:
            numbers = f"{one.requests_denied_before:,}", f"{one.requests_denied:,}"
            table.add_row(Text(printable(one.name)), *numbers, instant(one.first_ms))
        yield table


def _used(curves: Sequence[Curve]) -> Iterator[RenderableType]:
    """The peak of each caller as a part of its max."""
    if curves := [curve for curve in curves if curve.total]:
        yield _title("How much of their max callers use")
        table = _table("Limit", "Callers", "Half", *QUANTILES)
        for curve in curves:
            shares = [of_max(share) for share in curve.shares.values()]
            table.add_row(Text(printable(f"{curve.tier}: {curve.name}")), f"{curve.total:,}", *shares)
        yield table


def _in_flight(callers: Mapping[int, int]) -> Iterator[RenderableType]:
    if callers:
        yield _title("Requests of a caller at a time")
        table = _table("", "Callers", "Half", *QUANTILES)
        most = [f"{value:,.0f}" for value in quantiles_of(callers.items()).values()]
        table.add_row("at most", f"{sum(callers.values()):,}", *most)
        yield table


def _samples(report: Report) -> list[str]:
    return [f"{file}, line {line}, {reason}: {start}" for file, line, reason, start in report.summary.samples]


def _list(title: str, items: Sequence[str], width: int) -> Iterator[RenderableType]:
    if items:
        yield _title(title)
        yield from (_indented(item, width) for item in items)


def _indented(text: str, width: int) -> Text:
    """Wrapped without spaces at the ends of its lines, as a table or a box has them."""
    return Text("\n".join(wrap(printable(text), width, initial_indent="  ", subsequent_indent="  ")))
