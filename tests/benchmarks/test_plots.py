"""Plots are valid SVG, the same for the same data, and show what the data says."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.plots import number, svg
from benchmarks.section import Plot
from tests.benchmarks import sample

NAMESPACE = "{http://www.w3.org/2000/svg}"
PLOTS = [plot for section in sample.sections() for plot in section.plots]


def bars(**series: list[tuple[float | str, float]]) -> Plot:
    return Plot("p", "P", "", "y", "bars", dict(series))


def texts(plot: Plot) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg(plot)).iter(f"{NAMESPACE}text")]  # noqa: S314


def widths(plot: Plot) -> list[float]:
    """Of the bars: what is filled with the colour of the first series."""
    rectangles = ElementTree.fromstring(svg(plot)).iter(f"{NAMESPACE}rect")  # noqa: S314
    return [float(bar.attrib["width"]) for bar in rectangles if bar.attrib["fill"] == "#2166ac"]


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_valid_and_the_same_again(plot: Plot) -> None:
    """XML that parses, with the title in it however it is written, byte by byte the same a second time."""
    assert plot.title in texts(plot)
    assert svg(plot) == svg(plot)


def test_bars_are_as_long_as_their_values() -> None:
    """Twice the value is twice the bar, and the value is written beside it."""
    plot = bars(a=[("one", 2.0), ("two", 4.0), ("none", 0.0)])
    one, two, none = widths(plot)
    assert two == pytest.approx(2 * one, abs=0.2)
    assert none == 0
    assert {"one", "two", "none", "2", "4"} <= set(texts(plot))


def test_a_wide_range_is_logarithmic() -> None:
    """Ten times the value is one step more, and the axis says so."""
    plot = bars(a=[("a", 20.0), ("b", 200.0), ("c", 2_000.0), ("d", 20_000.0)])
    a, b, c, _ = widths(plot)
    assert c - b == pytest.approx(b - a, abs=0.2)
    assert "y (logarithmic)" in texts(plot)


def test_a_line_goes_from_left_to_right() -> None:
    """Points are joined in the order of x, whatever their order in the data."""
    line = Plot("p", "P", "x", "y", "lines", {"a": [(3, 1.0), (1, 2.0), (2, 3.0)]})
    (path,) = ElementTree.fromstring(svg(line)).iter(f"{NAMESPACE}polyline")  # noqa: S314
    across = [float(point.partition(",")[0]) for point in path.attrib["points"].split()]
    assert across == sorted(across)
    points = Plot("p", "P", "x", "y", "points", {"a": [(3, 1.0), (1, 2.0)]})
    assert "polyline" not in svg(points)


def test_a_long_legend_is_broken() -> None:
    """No name in the legend begins outside of the picture."""
    plot = bars(**{f"a series with a long name, number {n}": [("x", 1.0)] for n in range(9)})
    for element in ElementTree.fromstring(svg(plot)).iter(f"{NAMESPACE}text"):  # noqa: S314
        assert float(element.attrib["x"]) < 700


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (0.03125, "0.0312"),
        (0.5, "0.5"),
        (12.34, "12.3"),
        (126_000, "126,000"),
        (-2.5, "-2.5"),
        (1_234.5, "1,234"),
    ],
)
def test_numbers(value: float, written: str) -> None:
    """Three digits that count, and commas between thousands."""
    assert number(value) == written


def test_nothing_to_draw() -> None:
    """An empty plot is an error, with its name."""
    with pytest.raises(ValueError, match='"p" has no points'):
        svg(bars(a=[]))
