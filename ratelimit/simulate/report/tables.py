"""The tables and lists of the page, with every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ratelimit.ground.printable import printable
from ratelimit.simulate.analysis.found import Found
from ratelimit.simulate.analysis.pair import Against
from ratelimit.simulate.report.chart import week_svg
from ratelimit.simulate.report.curve import Curve, quantiles_of
from ratelimit.simulate.report.report import Report
from ratelimit.simulate.report.words import changes, counted, date, duration, instant, of_max, percent

SHOWN = 50  # denied callers; JSON has a thousand
LONGEST = 200  # characters of a name
IN_JSON = "<code>--format json</code> has all"


def text(said: object) -> str:
    """As HTML, whatever somebody has made up: no markup, no control character, no end of it."""
    whole = str(said)
    short = whole if len(whole) <= LONGEST * 10 else whole[: LONGEST * 10] + "…"
    return escape(printable(short)).replace(" %", "&nbsp;%")


def _table(head: Sequence[str], rows: Iterable[str], texts: Sequence[int] = ()) -> str:
    """Rows are made already; `texts` are the columns that are none of numbers, besides the first."""
    names = "".join(f"<th{' class=text' if at in texts else ''}>{name}</th>" for at, name in enumerate(head))
    return f'<div class="wide"><table><thead><tr>{names}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def facts(report: Report) -> str:
    found, summary = report.found, report.summary
    shown = [
        ("Requests", f"{found.requests:,}"),
        ("Denied", f"{found.denied:,} ({percent(found.denied, found.requests)})"),
        ("Callers", f"{found.callers:,}"),
        ("Callers denied", f"{found.callers_denied:,}"),
    ]
    if summary.first_ms is not None and summary.last_ms is not None:
        shown.append(("Since", date(summary.first_ms)))
        shown.append(("For", duration(summary.last_ms - summary.first_ms)))
    pairs = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in shown)
    return f'<dl class="facts">{pairs}</dl>'


def points(curve: Curve) -> str:
    """The thresholds at which requests were counted."""

    def row(threshold: float, callers: int, requests: int | None) -> str:
        name = f"{threshold:,.0f}" if curve.absolute else f"×{threshold:g}"  # noqa: RUF001 - a multiple
        known = "" if requests is None else f"{requests:,}"
        share = "" if requests is None else percent(requests, curve.requests)
        now = " class=now" if threshold == curve.present else ""
        return f"<tr{now}><td>{name}</td><td>{callers:,}</td><td>{known}</td><td>{share}</td></tr>"

    head = ("Max" if curve.absolute else "Multiple", "Callers denied", "Requests denied", "of its requests")
    table = _table(head, [row(*point) for point in curve.points])
    return (
        f"<details><summary>Requests denied at {len(curve.points)} thresholds, by it alone</summary>{table}</details>"
    )


def cards_of_hits(report: Report) -> str:
    """Who is denied."""
    found = report.found
    if not found.hits:
        week = week_svg(found.week, (), large=True)
        return f'<h2>The week</h2><section class="card"><p>Requests by hour, UTC.</p>{week}</section>\n'
    rows = [
        f'<tr><td class="name" title="{text(hit.name[:LONGEST])}">{text(hit.name[:LONGEST])}</td>'
        f'<td class="text">{text(hit.limit)}<small>{text(hit.tier)}</small></td>'
        f"<td>{hit.denied:,}<small>{percent(hit.denied, hit.requests)}</small></td>"
        f"<td>{hit.needs:,}<small>of {hit.max:,}</small></td><td>{duration(hit.blocked_ms)}</td>"
        f'<td class="text">{text(hit.pattern)}<small>{instant(hit.first_ms)}</small></td>'
        f"<td>{week_svg(hit.week, hit.week_denied)}</td></tr>"
        for hit in found.hits[:SHOWN]
    ]
    head = ("Caller", "Limit", "Denied", "Would need", "Blocked for", "Pattern, and the first", "Its week")
    more = found.callers_denied - len(rows)
    rest = f"<p>And {counted(more, 'caller')} more.</p>" if more > 0 else ""
    week = week_svg(found.week, found.week_denied, large=True)
    return (
        f'<h2>Who is denied</h2><section class="card">{_table(head, rows, (1, 5))}{rest}</section>\n'
        '<section class="card"><h3>The week of all callers</h3><p>By hour, UTC: requests, and denials in red.</p>'
        f"{week}</section>\n"
    )


def quantiles(curves: Sequence[Curve], left: int) -> str:
    """How much of their max callers use, by tier; so many limits are left out."""
    if not curves:
        return ""
    rows = [
        f'<tr><td>{text(curve.tier)}</td><td class="text">{text(curve.name)}</td><td>{curve.total:,}</td>'
        f"{''.join(f'<td>{of_max(share)}</td>' for share in curve.shares.values())}</tr>"
        for curve in curves
    ]
    head = ("Tier", "Limit", "Callers", "Half use at most", "90 %", "99 %", "99.9 %", "The highest")
    rest = f"<p>And {counted(left, 'limit')} more: {IN_JSON}.</p>" if left else ""
    what = "The peak of each caller as a part of its max, had every request been counted."
    return f'<h2>How much is used</h2><section class="card"><p>{what}</p>{_table(head, rows, (1,))}{rest}</section>\n'


def in_flight(found: Found) -> str:
    """How many requests a caller has at a time."""
    if not found.in_flight:
        return ""
    callers = sum(found.in_flight.values())
    row = "".join(f"<td>{most:,.0f}</td>" for most in quantiles_of(found.in_flight.items()).values())
    head = ("Callers", "Half have at most", "90 %", "99 %", "99.9 %", "The most")
    table = _table(head, [f"<tr><td>{callers:,}</td>{row}</tr>"])
    return f'<h2>Requests at a time</h2><section class="card">{table}</section>\n'


def against(other: str, found: Against) -> str:
    rows = [
        f'<tr><td class="name">{text(one.name[:LONGEST])}</td><td>{one.requests_denied_before:,}</td>'
        f"<td>{one.requests_denied:,}</td><td>{instant(one.first_ms)}</td></tr>"
        for one in found.callers[:SHOWN]
    ]
    head = ("Caller", f"Denied by {text(other)}", "Denied now", "First difference")
    table = _table(head, rows) if rows else ""
    return f'<h2>Against {text(other)}</h2><section class="card"><p>{changes(found)}</p>{table}</section>\n'


def lists(report: Report) -> str:
    """What was not understood, and the fine print."""
    lacks = [text(one) for one in report.lacks]
    for file, line, reason, start in report.summary.samples:
        lacks.append(f"{text(file)}, line {line}, {text(reason)}: <code>{text(start)}</code>")
    understood = f"{report.summary.understood:,} of {counted(report.summary.lines, 'line')} were understood."
    items = "".join(f"<li>{one}</li>" for one in [understood, *lacks])
    fine = "".join(f"<li>{text(one)}</li>" for one in report.fine_print)
    return (
        f'<h2>What was not understood</h2><section class="card"><ul>{items}</ul></section>\n'
        f'<h2>The fine print</h2><section class="card"><ul>{fine}</ul></section>\n'
    )
