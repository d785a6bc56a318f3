"""The answer as one HTML file that loads nothing from anywhere, and runs no script but its own.

What others have made up, names and lines of logs, is only ever text in it: it is escaped here, and the script reads
numbers alone. The policy of the page (CSP) names the one script and the one style by their hashes.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from hashlib import sha256
from importlib.resources import files
from math import inf
from typing import Any

from ratelimit.simulate.report.chart import PIXEL, WIDTH, curve_svg
from ratelimit.simulate.report.curve import Curve
from ratelimit.simulate.report.report import Report, toml_at
from ratelimit.simulate.report.tables import (
    IN_JSON,
    against,
    cards_of_hits,
    facts,
    in_flight,
    lists,
    points,
    quantiles,
    text,
)
from ratelimit.simulate.report.words import counted

BYTES = 1_000_000  # the page has less, whatever there is to say
CURVES = 40  # that are drawn, and five times as many have a row
STEPS = 24_000  # of all curves: beyond it peaks are rounded up
DRAWN = 10_000  # steps in the drawings of all curves
OPEN = 6  # curves that are shown at once


def page(report: Report) -> str:
    most = CURVES
    while len((whole := _page(report, most)).encode()) >= BYTES and most:
        most //= 2  # names can be long
    return whole


def _page(report: Report, most: int) -> str:
    style, script = _asset("page.css"), _asset("page.js")
    drawn = _telling(report.curves, most)
    per_curve = STEPS // max(1, len(drawn))
    data = json.dumps([_data(curve, per_curve) for curve in drawn], separators=(",", ":"))
    safe = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none';"
        " form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(report.policy)}: simulation</title><style>{style}</style></head>\n<body><main>\n"
        f"{''.join(_body(report, drawn, _telling(report.curves, 5 * most)))}"
        "<footer>Made by <code>ratelimit simulate</code>. This page loads nothing and sends nothing.</footer>\n"
        "</main>\n"
        f'<script type="application/json" id="data">{safe}</script>\n<script>{script}</script>\n</body></html>\n'
    )


def _telling(curves: Sequence[Curve], most: int) -> Sequence[Curve]:
    """So many, in their order: those that deny the most callers, with the others or alone."""

    def dull(at: int) -> tuple[int, int, int]:
        return -curves[at].callers_denied, -curves[at].denied_at(curves[at].present), -curves[at].total

    return [curves[at] for at in sorted(sorted(range(len(curves)), key=dull)[:most])]


def _body(report: Report, drawn: Sequence[Curve], rows: Sequence[Curve]) -> Iterator[str]:
    logs = ", ".join(report.summary.files)
    about = f"<p>{text(report.policy)} on {text(logs)}</p><h1>{text(report.verdict)}</h1>"
    yield f"<header>{about}{facts(report)}</header>\n"
    if report.against is not None and report.other is not None:
        yield against(report.other, report.against)
    if report.curves:
        yield "<h2>What each limit would deny</h2>\n"
    apart = max(PIXEL, len(drawn) * WIDTH / DRAWN)
    cards = [_card(curve, number, apart) for number, curve in enumerate(drawn)]
    yield "".join(cards[:OPEN])
    if cards[OPEN:]:
        yield f"<details><summary>{len(cards) - OPEN} more limits</summary>{''.join(cards[OPEN:])}</details>\n"
    if left := len(report.curves) - len(drawn):
        yield f"<p>{counted(left, 'limit')} not drawn, of those that deny the fewest callers: {IN_JSON}.</p>\n"
    yield cards_of_hits(report)
    yield quantiles(rows, len(report.curves) - len(rows))
    yield in_flight(report.found)
    yield lists(report)


def _card(curve: Curve, number: int, apart: float) -> str:
    name = f"{curve.tier}: {curve.name}"
    what = curve.what[:1].upper() + curve.what[1:]
    tag = f'<span class="tag">{text(curve.mode)}</span>' if curve.mode else ""
    shadow = f" In shadow it would deny {curve.would_deny:,}." if curve.would_deny else ""
    marks = "".join(
        f'<button type="button" data-mark="{mark}">{said}</button>'
        for mark, said in (("present", "Now"), ("p99", "p99"), ("p99.9", "p99.9"))
        if curve.marks[mark] < inf
    )
    return (
        f'<section class="card" data-limit="{number}"><h3 id="title-{number}">{text(name)}{tag}</h3>'
        f"<p>{text(what)}. Now it denies {curve.callers_denied:,} of {curve.total:,} callers, and {curve.denied:,} of"
        f" {curve.requests:,} requests.{shadow} Callers denied, by the max:</p>"
        f"{curve_svg(curve, number, apart)}"
        f'<div class="dial"><input type="range" min="0" value="0" step="1" aria-label="Max of {text(name)}">'
        f'<div class="row"><output></output><label>{"Max" if curve.absolute else "Times the present max"} '
        f'<input type="number" min="0"></label>{marks}<button type="button" class="copy">Copy as TOML</button>'
        "</div></div>"
        f"<pre><code>{text(toml_at(curve, curve.present))}</code></pre>{points(curve)}</section>\n"
    )


def _data(curve: Curve, most: int) -> Mapping[str, Any]:
    """What the script needs: numbers, and texts of the policy that it shows as texts."""
    values, callers, rounded = thinned(curve.values, curve.callers, most)
    beyond = callers.pop() if values and values[-1] == inf else 0
    amount = curve.amount
    return {
        "absolute": curve.absolute,
        "present": curve.present,
        "values": values[: len(callers)],
        "callers": callers,
        "beyond": beyond,  # of a max of 0: no multiple of it admits them
        "rounded": rounded,
        "marks": {name: at for name, at in curve.marks.items() if at < inf},
        "amount": {
            "before": amount.before,
            "behind": amount.behind,
            "where": amount.where,
            "constant": amount.constant,
            "terms": amount.terms,
        },
    }


def thinned(values: Sequence[float], callers: Sequence[int], most: int) -> tuple[list[float], list[int], bool]:
    """No more steps than that: peaks are rounded up to so few digits. Then a threshold of as many digits still denies
    whom it did, and another one is told to deny a few too many, never too few."""
    digits = 4
    kept: dict[float, int] = dict(zip(values, callers, strict=True))
    rounded = False
    while len(kept) > most and digits > 1:
        digits -= 1
        rounded = True
        kept = {}
        for value, count in zip(values, callers, strict=True):
            up = _up(value, digits)
            kept[up] = kept.get(up, 0) + count
    return [*kept], [*kept.values()], rounded


def _up(value: float, digits: int) -> float:
    if value in {0, inf}:
        return value
    if type(value) is int:
        unit: int = 10 ** max(0, len(str(value)) - digits)
        return -(-value // unit) * unit
    exact = Decimal(repr(value))
    return float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1), ROUND_CEILING))


def _asset(name: str) -> str:
    return files("ratelimit.simulate.report").joinpath(name).read_text(encoding="utf-8")


def _hash(asset: str) -> str:
    return "sha256-" + b64encode(sha256(asset.encode()).digest()).decode()
