"""The answer of a simulation on a terminal and in a pipe: 80 columns, and texts that do nothing to a terminal."""

from __future__ import annotations

import random
from io import BytesIO, TextIOWrapper
from typing import Any

import pytest
from rich.console import Console

from ratelimit.cli.output.simulation import show
from ratelimit.simulate.analysis.found import OfLimit
from ratelimit.simulate.analysis.pair import Against, Changed
from ratelimit.simulate.report.report import Report, report_of
from tests.simulate.analysis import HOUR, Asked, T, policy, who
from tests.simulate.report import report

OF = policy(
    '{ name = "requests", rate = "5/minute" }, { name = "seats", rate = "(2 * seats + 1)/hour" },'
    ' { name = "soon", quota = "9/day", mode = "shadow" }, { name = "at once", concurrency = 2 }'
)
HOSTILE = "[red]x[/red] \x1b[2J\x07<img onerror>"


def asked(name: str = "c", callers: int = 20) -> list[Asked]:
    dice = random.Random(5)
    made = []
    for n in range(callers):
        for _ in range(dice.randrange(1, 30)):
            made.append(
                Asked(T + dice.randrange(90 * HOUR), who(f"{name}{n}", seats=n % 4), took=dice.choice([5, 900]))
            )
            made.append(made[-1]._replace(at=made[-1].at + 20))
    return made


def shown(of: Report, encoding: str = "utf-8", *, terminal: bool = False, **options: Any) -> str:
    written = BytesIO()
    stream = TextIOWrapper(written, encoding=encoding)
    out = Console(file=stream, width=80, force_terminal=terminal, markup=False, highlight=False, **options)
    show(of, out)
    stream.flush()
    return written.getvalue().decode(encoding)


def test_what_is_shown() -> None:
    """The verdict, each limit with its marks, the thresholds of those that deny, who is denied with its week, what was
    not understood and the fine print; no line is longer than 80 columns."""
    lacks = {"unreadable": {"not of this format": 3}, "samples": [("access.log", 7, "not of this format", "what")]}
    text = shown(report(OF, asked(), **lacks))
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("12 of 20 callers would be denied, ")
    assert any(line.startswith("Limit ") and line.endswith("Highest") for line in lines)
    assert any(line.startswith("basic: soon (shadow)") for line in lines)
    assert "basic: seats, alone at another max (each caller's own max in any hour now)" in lines
    assert "           Mon      Tue      Wed      Thu      Fri      Sat      Sun" in lines
    assert any(line.startswith("  denied   ") and "█" in line for line in lines)
    assert "and 4 callers more (--html, --format json)" in lines
    assert "  3 lines: not of this format (0.42 %)" in lines
    assert "  access.log, line 7, not of this format: what" in lines
    assert "  Instants are in UTC." in lines
    assert "99.9 % of its callers fit in:" in lines
    assert '  rate = "(12 * seats + 6)/hour"  # seats of [tiers.basic]' in lines


def test_a_comment_is_whole_or_not_there() -> None:
    """A line of TOML is copied from the terminal: one that broke would be another file."""
    of = policy(f'{{ name = "{"of a name that is long " * 3}", rate = "4/minute" }}')
    lines = [line.rstrip() for line in shown(report(of, [Asked(T, who("c"))] * 6)).splitlines()]
    assert lines[lines.index("99.9 % of its callers fit in:") + 1] == '  rate = "6/minute"'


def test_how_much_is_used() -> None:
    """Quantiles of peak against max of each limit that anybody met, and of requests at a time."""
    of = policy(
        '{ name = "requests", rate = "4/minute" }, { name = "others", rate = "4/minute", operations = ["create"] }'
    )
    made = [Asked(T + k, who(f"c{n}"), took=900) for n in range(10) for k in range(n + 1)]
    lines = [" ".join(line.split()) for line in shown(report(of, made)).splitlines()]
    at = lines.index("How much of their max callers use")
    assert lines[at + 1 : at + 4] == [
        "Limit Callers Half 90 % 99 % 99.9 % Highest",
        "basic: requests 10 125 % 225 % 250 % 250 % 250 %",
        "",
    ]
    at = lines.index("Requests of a caller at a time")
    assert lines[at + 1 : at + 3] == ["Callers Half 90 % 99 % 99.9 % Highest", "at most 10 5 9 10 10 10"]


def test_nobody() -> None:
    """Where nobody would be denied there is no table of thresholds, and nobody to tell of."""
    text = shown(report(policy('{ name = "requests", rate = "500/minute" }'), asked()))
    assert text.startswith("Nobody would be denied: 20 callers, ")
    assert "alone at another max" not in text
    assert "\nWho is denied\n" not in text


def test_few() -> None:
    """Where all who are denied are shown, nothing is said of others."""
    text = shown(report(policy('{ name = "requests", rate = "1/minute" }'), asked(callers=3)))
    assert "organization=c0" in text
    assert "callers more" not in text


def test_nothing() -> None:
    """Of a log in which nothing is limited that is all there is to say."""
    text = shown(report(OF, []))
    assert text.startswith("No request of the log is limited by this policy.\n\nFine print\n")


def test_hostile_names() -> None:
    """Names and lines of a log that are made up move no cursor, ring no bell, and are no markup."""
    against = Against(1, 2, 3, 4, 5, [Changed(HOSTILE, 2, 0, T)])
    made = report(OF, asked(HOSTILE), against, samples=[(HOSTILE, 7, HOSTILE, HOSTILE)], unknown=[HOSTILE])
    for terminal in (True, False):
        text = shown(made, terminal=terminal, no_color=True, color_system=None)
        assert "\x1b[2J" not in text
        assert "\x07" not in text
        assert "\\x1b[2J" in text
        assert "[red]x[/red]" in text
    assert "1 caller newly denied, 2 no longer, 3 more or less often" in text


def test_compared() -> None:
    """What another policy makes of it is told with the callers of whom it differs, and without where there are none."""
    made = report(OF, asked(), Against(1, 0, 0, 2, 0, [Changed("organization=c1", 2, 0, T)]))
    lines = [line.split() for line in shown(made).splitlines()]
    assert ["Against", "other.toml"] in lines
    assert ["organization=c1", "0", "2", "Sun", "1", "Mar", "10:00"] in lines
    assert "Denied before" not in shown(report(OF, asked(), Against()))


def test_a_terminal_that_knows_no_unicode() -> None:
    """Its weeks are drawn in digits, its bars in #."""
    text = shown(report(OF, asked()), "ascii")
    assert "█" not in text
    assert any(line.startswith("  asked    ") and any(c.isdigit() for c in line) for line in text.splitlines())
    assert "####" in text


def test_colours() -> None:
    """There are some on a terminal, and none in a pipe."""
    assert "\x1b[" in shown(report(OF, asked()), terminal=True, color_system="standard")
    assert "\x1b" not in shown(report(OF, asked()))


def test_what_was_not_counted() -> None:
    """Requests at thresholds at which they were not counted are left out; of a max of 0 no multiple is one."""
    override = '[[overrides]]\norganization = "c1"\nlimits = { seats = "0/hour" }'
    of = policy('{ name = "seats", rate = "(2 * seats + 1)/hour" }', override)
    made = report(of, asked())
    for limit in made.found.limits.values():
        limit.uncounted = 1
    again = report_of("ratelimit.toml", of, made.found, made.summary)
    text = shown(again)
    assert "any" in next(line for line in text.splitlines() if line.startswith("basic: seats"))
    assert "1 x" in text
    assert "(100 %)" not in text


@pytest.mark.parametrize("peaks", [{}, {0: 3}])
def test_a_limit_that_nobody_uses(peaks: dict[int, int]) -> None:
    """It has a line all the same."""
    of = policy('{ name = "requests", rate = "5/minute" }')
    made = report(of, [])
    made.found.limits["basic", "requests"] = limit = OfLimit()
    limit.peaks.update(peaks)
    limit.shares.update({0.0: sum(peaks.values())})
    limit.maxes[5] = 3
    assert "basic: requests" in shown(report_of("ratelimit.toml", of, made.found, made.summary))
