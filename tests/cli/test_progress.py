"""How far a simulation is, on a terminal; where there is none nothing is told."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from ratelimit.cli.output import progress as module
from ratelimit.cli.output.progress import progress


class Terminal:
    """One that remembers, with a clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.stream = 0.0, StringIO()
        monkeypatch.setenv("TERM", "xterm")
        made = Console(file=self.stream, force_terminal=True, width=80, get_time=lambda: self.now)
        monkeypatch.setattr(module, "console", lambda *, stderr: made)


def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many lines, how many a second, and how long it still takes."""
    terminal = Terminal(monkeypatch)
    with progress(1_000) as tell:
        assert tell is not None
        tell(0, 0)
        for terminal.now, read in ((1.0, 100), (2.0, 200)):
            tell(read, 10 * read)
    told = terminal.stream.getvalue()
    assert "2,000 lines" in told
    assert "1,000/s" in told
    assert "0:00:08" in told


def test_nobody_knows_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of standard input the lines and the rate, and no time that is left."""
    terminal = Terminal(monkeypatch)
    with progress(None) as tell:
        assert tell is not None
        terminal.now = 4.0
        tell(100, 10_000)
    assert "10,000 lines" in terminal.stream.getvalue()
    assert "2,500/s" in terminal.stream.getvalue()
    assert ":" not in terminal.stream.getvalue()


def test_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing."""
    with progress(1_000) as tell:
        assert tell is None
    assert capsys.readouterr() == ("", "")
