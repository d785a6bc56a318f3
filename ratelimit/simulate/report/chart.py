"""Drawings in SVG: the curve of a limit, and a week by its hours. No text in them is anybody else's."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import ceil, log1p, sqrt

from ratelimit.simulate.report.curve import Curve

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 34, 30
PIXEL = 0.5  # of a screen that has two of them for one
LEVELS = 4  # of a week's hours
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Axes:
    """Logarithmic, and with a 0: a max of 5 and one of 5,000 are both to be seen, and so is one caller of thousands.
    page.js has `x` too."""

    def __init__(self, largest: float, callers: int, *, absolute: bool) -> None:
        self.scale = 1 if absolute else 100
        self.largest = max(largest, 1 / self.scale)
        self.callers = max(callers, 1)

    def x(self, threshold: float) -> float:
        inner = WIDTH - LEFT - RIGHT
        return LEFT + inner * log1p(threshold * self.scale) / log1p(self.largest * self.scale)

    def y(self, callers: int) -> float:
        inner = HEIGHT - TOP - BOTTOM
        return HEIGHT - BOTTOM - inner * log1p(callers) / log1p(self.callers)


def axes_of(curve: Curve) -> Axes:
    finite = [value for value in (curve.values[-1] if curve.values else 0, curve.present) if value < float("inf")]
    return Axes(1.25 * max(finite), curve.denied_at(0), absolute=curve.absolute)


def curve_svg(curve: Curve, number: int, apart: float = PIXEL) -> str:
    """Its steps are so far from each other at the least. One path is the line and the area below it: it begins with
    the left side of the area, which is a gap of the line."""
    axes = axes_of(curve)
    floor, top = HEIGHT - BOTTOM, axes.y(curve.denied_at(0))
    line = f"M{LEFT} {floor}V{top:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in _steps(curve, axes, apart))
    at = axes.x(curve.present)
    return (
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="title-{number}" '
        f'data-largest="{axes.largest}" data-scale="{axes.scale}">'
        f"{''.join(_grid(axes, curve.absolute))}"
        f'<path class="line" stroke-dasharray="0 {floor - top:.1f} 9999" d="{line}H{WIDTH - RIGHT}"/>'
        f"{''.join(_marks(curve, axes))}"
        f'<line class="here" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{floor}"/>'
        f'<circle class="dot" cx="{at:.1f}" cy="{axes.y(curve.denied_at(curve.present)):.1f}" r="4.5"/></svg>'
    )


def _steps(curve: Curve, axes: Axes, apart: float) -> Iterator[tuple[float, float]]:
    """Down at each peak that is so far from the one before."""
    last = -1.0
    up_to = [*accumulate(curve.callers)]
    for value in curve.values:
        x = axes.x(min(value, axes.largest))
        if x - last >= apart or value == curve.values[-1]:
            last = x
            yield x, axes.y(up_to[-1] - up_to[bisect_right(curve.values, value) - 1])


def _grid(axes: Axes, absolute: bool) -> Iterator[str]:
    last = -100.0
    for tick in _ticks(axes.largest, axes.scale):
        x = axes.x(tick)
        if x - last < 46:
            continue
        last = x
        said = f"{tick:,.0f}" if absolute else f"×{tick:g}"  # noqa: RUF001 - a multiple
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        yield f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{said}</text>'
    count, bottom = 0, HEIGHT + 100.0
    while count <= axes.callers:
        y = axes.y(count)
        if bottom - y >= 16:
            bottom = y
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text class="tick" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{count:,}</text>'
        count = 10 * count or 1


def _ticks(largest: float, scale: int) -> Iterator[float]:
    yield 0
    step = 1
    while step / scale <= largest:
        yield from (n * step / scale for n in (1, 2, 5) if n * step / scale <= largest)
        step *= 10


def _marks(curve: Curve, axes: Axes) -> Iterator[str]:
    """At the present max, and where 1 % and 0.1 % of the callers are left; two labels that would meet give way."""
    names: dict[float, list[str]] = {}
    for name, threshold in sorted(curve.marks.items(), key=lambda mark: mark[1]):
        names.setdefault(threshold, []).append("now" if name == "present" else name)
    marks = [(axes.x(min(threshold, axes.largest)), ", ".join(said)) for threshold, said in names.items()]
    row = 0
    for number, (x, text) in enumerate(marks):
        after = number + 1 < len(marks) and _meet(marks[number], marks[number + 1])
        before = number > 0 and _meet(marks[number - 1], marks[number])
        row = 1 - row if after and before else row
        kind, y = ("mark now" if "now" in text else "mark"), TOP - 5 - 12 * row
        anchor, at = ("end", x - 4) if after and not before else ("start", x + 4) if before else ("middle", x)
        if at + 7 * len(text) > WIDTH:
            anchor, at = "end", x - 4
        top = TOP - 3 if anchor == "middle" else TOP - 14
        yield f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{HEIGHT - BOTTOM}"/>'
        yield f'<text class="{kind}" x="{at:.1f}" y="{y}" text-anchor="{anchor}">{text}</text>'


def _meet(first: tuple[float, str], second: tuple[float, str]) -> bool:
    return second[0] - first[0] < 3.5 * (len(first[1]) + len(second[1])) + 6


def week_svg(requests: Sequence[int], denied: Sequence[int], *, large: bool = False) -> str:
    """A row for each day, a column for each hour of UTC: how much was asked, and on it how much is denied."""
    cell = 12 if large else 5
    names = 32 if large else 0
    width, height = names + 24 * cell, 7 * cell + (14 if large else 0)
    parts = [f'<rect class="none" x="{names}" y="0" width="{24 * cell}" height="{7 * cell}" rx="2"/>']
    for counts, kind in ((requests, "some"), (denied, "deny")):
        for level, cells in enumerate(_levels(counts), 1):
            if cells:
                path = "".join(
                    f"M{names + hour % 24 * cell} {hour // 24 * cell}h{cell - 1}v{cell - 1}h{1 - cell}z"
                    for hour in cells
                )
                parts.append(f'<path class="{kind}{level}" d="{path}"/>')
    if large:
        parts += [f'<text class="tick" x="0" y="{day * cell + 10}">{name}</text>' for day, name in enumerate(DAYS)]
        parts += [
            f'<text class="tick" x="{names + hour * cell}" y="{height - 2}">{hour:02d}</text>'
            for hour in range(0, 24, 6)
        ]
    return (
        f'<svg class="week" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{_said(requests, denied)}">{"".join(parts)}</svg>'
    )


def _levels(counts: Sequence[int]) -> Iterator[list[int]]:
    """The hours of each level, by their part of the busiest."""
    most = max(counts, default=0)
    for level in range(1, LEVELS + 1):
        yield [hour for hour, count in enumerate(counts) if count and ceil(LEVELS * sqrt(count / most)) == level]


def _said(requests: Sequence[int], denied: Sequence[int]) -> str:
    """In words, for who can't see it."""
    counts, what = (denied, "denials") if any(denied) else (requests, "requests")
    if not any(counts):
        return "no hours known"
    hour = max(range(len(counts)), key=lambda at: counts[at])
    return f"most {what} {DAYS[hour // 24]} {hour % 24:02d}:00"
