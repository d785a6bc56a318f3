"""A Plot as SVG, in a few elements a reader can check: bars with their values, or lines over two axes.

The same data makes the same bytes: no date, no random ids, numbers rounded to a tenth of a pixel. The background is
painted, so that the dark letters can be read on a dark page too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from xml.sax.saxutils import escape

from benchmarks.section import Plot, Point

WIDTH = 760
LEGEND = 40  # where it begins, below the title
MARGIN = 16
BAR, GAP = 16, 10  # a bar's height, and the space between two groups
LETTER = 6.6  # the width of a letter of 12 px, on average: enough to leave room for labels
COLOURS = ("#2166ac", "#b2182b", "#4d9221", "#e08214", "#762a83", "#35978f", "#8c510a", "#525252")
PAPER, INK, GRID = "#ffffff", "#222222", "#dddddd"
WIDE = 50.0  # values that differ by more than this factor are drawn on a logarithmic scale
SPREAD = (" (least)", " (most)")  # a series with one of these after another's name is the end of that one's error bars


def svg(plot: Plot) -> str:
    """The picture of a plot. Raises ValueError where there is nothing to draw."""
    if not any(plot.series.values()):
        raise ValueError(f'the plot "{plot.name}" has no points: nothing to draw')
    return _bars(plot) if plot.kind == "bars" else _curves(plot)


def number(value: float) -> str:
    """As people read it: 12,345, 123, 12.3, 0.123."""
    if value == 0:
        return "0"
    digits = max(0, 2 - floor(log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _bars(plot: Plot) -> str:
    """Bars that lie, one group a name, so that long names can be read."""
    drawn = {name: dict(points) for name, points in plot.series.items() if not name.endswith(SPREAD)}
    low, high = ({name: dict(plot.series.get(name + end, ())) for name in drawn} for end in SPREAD)
    groups = list(dict.fromkeys(str(x) for points in drawn.values() for x in points))
    left = MARGIN + 8 + LETTER * max(len(group) for group in groups)
    reach = [y for points in (*drawn.values(), *high.values()) for y in points.values()]
    scale = _Scale.over([0.0, *reach], left, WIDTH - MARGIN - 70, bars=True)
    legend, top = _legend(list(drawn))
    at, bars = top + GAP / 2, []
    for group in groups:
        present = [(s, name) for s, name in enumerate(drawn) if group in drawn[name]]
        bars.append(_text(left - 8, at + BAR * len(present) / 2 + 3, group, "end"))
        for s, name in present:
            value = drawn[name][group]
            end = scale(value)
            bars.append(_rectangle(left, at, end - left, BAR - 2, COLOURS[s % len(COLOURS)]))
            if group in low[name] and group in high[name]:
                bars += _error_bar(scale(low[name][group]), scale(high[name][group]), at + BAR / 2 - 1)
                end = max(end, scale(high[name][group]))
            bars.append(_text(end + 6, at + BAR / 2 + 3, number(value)))
            at += BAR
        at += GAP
    label = _text((left + scale.end) / 2, at + 34, _axis(plot.y_label, scale), "middle")
    return _page(plot, at + 46, [*legend, *_vertical_grid(scale, top, at), *bars, label])


def _curves(plot: Plot) -> str:
    """Lines through the points, or the points alone."""
    points = [point for series in plot.series.values() for point in series]
    legend, below = _legend(list(plot.series))
    left, right, top, bottom = MARGIN + 64, WIDTH - MARGIN - 12, below + 30, below + 350
    across = _Scale.over([float(x) for x, _ in points], left, right)
    up = _Scale.over([y for _, y in points], bottom, top)
    body = [*legend, *_vertical_grid(across, top, bottom), *_horizontal_grid(up, left, right)]
    for s, series in enumerate(plot.series.values()):
        colour = COLOURS[s % len(COLOURS)]
        places = [(across(float(x)), up(y)) for x, y in _sorted(series)]
        if plot.kind == "lines" and len(places) > 1:
            path = " ".join(f"{_px(x)},{_px(y)}" for x, y in places)
            body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body += [f'<circle cx="{_px(x)}" cy="{_px(y)}" r="3" fill="{colour}"/>' for x, y in places]
    body.append(_text((left + right) / 2, bottom + 36, _axis(plot.x_label, across), "middle"))
    body.append(_text(MARGIN, top - 14, _axis(plot.y_label, up)))
    return _page(plot, bottom + 48, body)


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to pixels: linear, or logarithmic over a wide range."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, *, bars: bool = False) -> _Scale:
        positive = [value for value in values if value > 0]
        most, least = max(values), min(positive, default=0.0)
        if least and most / least > WIDE and (bars or min(values) > 0):
            return cls(10.0 ** floor(log10(least / 1.001)), 10.0 ** ceil(log10(most)), start, end, logarithmic=True)
        step = _step(most or 1.0)
        return cls(0.0, step * ceil((most or 1.0) / step - 1e-9), start, end, logarithmic=False)

    def __call__(self, value: float) -> float:
        if self.logarithmic:
            share = log10(max(value, self.low) / self.low) / log10(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        if self.logarithmic:
            return [10.0**power for power in range(round(log10(self.low)), round(log10(self.high)) + 1)]
        step = _step(self.high)
        return [step * tick for tick in range(round(self.high / step) + 1)]


def _step(most: float) -> float:
    """Between grid lines, so that there are four to ten of them: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10(most))
    return next(power * part for part in (0.1, 0.2, 0.5, 1.0) if most / (power * part) <= 10)


def _sorted(series: Iterable[Point]) -> list[Point]:
    return sorted(series, key=lambda point: float(point[0]))


def _axis(label: str, scale: _Scale) -> str:
    return f"{label} (logarithmic)" if scale.logarithmic else label


def _vertical_grid(scale: _Scale, top: float, bottom: float) -> list[str]:
    lines = [_line(scale(tick), top, scale(tick), bottom, GRID) for tick in scale.ticks]
    return lines + [_text(scale(tick), bottom + 16, number(tick), "middle") for tick in scale.ticks]


def _horizontal_grid(scale: _Scale, left: float, right: float) -> list[str]:
    lines = [_line(left, scale(tick), right, scale(tick), GRID) for tick in scale.ticks]
    return lines + [_text(left - 8, scale(tick) + 4, number(tick), "end") for tick in scale.ticks]


def _error_bar(low: float, high: float, y: float) -> list[str]:
    return [_line(low, y, high, y, INK), _line(low, y - 4, low, y + 4, INK), _line(high, y - 4, high, y + 4, INK)]


def _legend(names: Sequence[str]) -> tuple[list[str], float]:
    """What the colours stand for, in as many rows as it takes, and where the picture may begin below it."""
    body: list[str] = []
    x, y = float(MARGIN), float(LEGEND)
    for n, name in enumerate(names if len(names) > 1 else ()):
        width = 22 + LETTER * len(name) + 14
        if x + width > WIDTH and x > MARGIN:
            x, y = float(MARGIN), y + 20
        body += [_rectangle(x, y, 12, 12, COLOURS[n % len(COLOURS)]), _text(x + 18, y + 10, name)]
        x += width
    return body, y + 20 if body else float(LEGEND)


def _page(plot: Plot, height: float, body: Sequence[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {_px(height)}" width="{WIDTH}"'
            f' height="{_px(height)}" font-family="sans-serif" font-size="12">',
            f"<title>{escape(plot.title)}</title>",
            _rectangle(0, 0, WIDTH, height, PAPER),
            f'<text x="{MARGIN}" y="26" font-size="16" fill="{INK}">{escape(plot.title)}</text>',
            *body,
            "</svg>\n",
        ]
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{_px(x)}" y="{_px(y)}" text-anchor="{anchor}" fill="{INK}">{escape(text)}</text>'


def _rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{_px(x)}" y="{_px(y)}" width="{_px(width)}" height="{_px(height)}" fill="{colour}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{_px(x1)}" y1="{_px(y1)}" x2="{_px(x2)}" y2="{_px(y2)}" stroke="{colour}"/>'


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
