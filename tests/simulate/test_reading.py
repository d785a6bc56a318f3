"""Several logs are one stream in order of arrival, by one process or several."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ratelimit.simulate import reading
from ratelimit.simulate.events import Event, Summary
from ratelimit.simulate.logs import sources
from ratelimit.simulate.logs.guess import looked_at, reader_of
from ratelimit.simulate.logs.own import Mapped
from ratelimit.simulate.logs.sources import Source
from ratelimit.simulate.reading import Alone, Reading

T = 1_772_445_600_000


def line(at: int, took: int = 0, ip: str = "192.0.2.7") -> str:
    """Of a server that writes it when it is over."""
    return (
        f'{{"ts": {(at + took) / 1_000:.3f}, "client_ip": "{ip}", "method": "GET", "path": "/", "duration_ms": {took}}}'
    )


def opened(folder: Path, *files: Sequence[str]) -> list[Source]:
    paths = [folder / f"{number}.log" for number in range(len(files))]
    for path, lines in zip(paths, files, strict=True):
        path.write_text("".join(f"{one}\n" for one in lines))
    return [Source(str(path)) for path in paths]


def read(found: list[Source], summary: Summary | None = None, **options: Any) -> list[list[Event]]:
    formats, begins = looked_at(found, Mapped())
    readers = [reader_of(of, Mapped()) for of in formats]
    try:
        return [*Reading(found, readers, summary or Summary(), begins=begins, **options).batches()]
    finally:
        for one in found:
            one.close()


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CHUNK", 4_000)


def test_order_of_arrival(tmp_path: Path) -> None:
    """A long request stands behind others in the log, and comes before them here."""
    dice = random.Random(1)
    asked = [(T + 40 * number, dice.choice([5, 50, 500, 30_000])) for number in range(3_000)]
    lines = [line(at, took) for at, took in sorted(asked, key=sum)]
    summary = Summary()
    batches = read(opened(tmp_path, lines), summary)
    found = [(at, took) for batch in batches for at, _, _, took, *_ in batch]
    assert found == sorted(found, key=lambda one: one[0])
    assert sorted(found) == asked
    assert len(batches) > 2
    assert (summary.lines, summary.understood, summary.late) == (3_000, 3_000, 0)


def test_several_files(tmp_path: Path) -> None:
    """Files are merged by time, whatever of it each of them has; an empty one is none."""
    rotated = [line(T + 10 * number) for number in range(500)]
    current = [line(T + 5_000 + 10 * number) for number in range(500)]
    beside = [line(T + 5 + 20 * number) for number in range(500)]
    told: list[tuple[int, int]] = []
    found = opened(tmp_path, current, rotated, [], beside)
    events = [one for batch in read(found, progress=lambda *done: told.append(done)) for one in batch]
    size = sum(one.size or 0 for one in found)
    assert [one[0] for one in events] == sorted(one[0] for one in events)
    assert {(one[1], one[2]) for one in events} == {(file, number) for file in (0, 1, 3) for number in range(1, 501)}
    assert told[-1] == (size, 1_500)


def test_very_many_files(tmp_path: Path) -> None:
    """Of a thousand that follow each other a few are open at a time, in whatever order they are named."""
    files = [[line(T + 60_000 * number + second * 1_000) for second in range(0, 60, 20)] for number in range(200)]
    random.Random(1).shuffle(files)
    found = opened(tmp_path, *files)
    most = 0

    def look(read: int, lines: int) -> None:
        nonlocal most
        most = max(most, sum(one._raw is not None and not one._raw.closed for one in found))

    events = [one for batch in read(found, progress=look) for one in batch]
    assert [one[0] for one in events] == [T + 20_000 * number for number in range(600)]
    assert most < 10


def test_out_of_order_by_more_than_the_window(tmp_path: Path) -> None:
    """What comes later than the window allows is decided later than it came, and counted."""
    lines = [line(T + 1_000 * number) for number in range(300)]
    lines.insert(250, line(T + 1_000))
    summary = Summary()
    events = [one for batch in read(opened(tmp_path, lines), summary) for one in batch]
    assert summary.late == 1
    [late] = [one for one in events if one[2] == 251]
    assert T + 100_000 < late[0] < T + 250_000
    assert [one[0] for one in events] == sorted(one[0] for one in events)


def test_longer_than_the_window(tmp_path: Path) -> None:
    """A WebSocket of an hour is logged when it ends: what is left of the window is all that is known of it in time, and
    it holds its slot until then, not an hour more."""
    lines = [line(T + 1_000 * number) for number in range(300)]
    lines.insert(250, line(T + 250_000 - 3_600_000, took=3_600_000))
    [late] = [one for batch in read(opened(tmp_path, lines)) for one in batch if one[2] == 251]
    assert T + 100_000 < late[0] < T + 250_000
    assert late[0] + late[3] == T + 250_000


def test_a_clock_that_was_wrong(tmp_path: Path) -> None:
    """A few lines from a far future make nothing late: they come last."""
    lines = [line(T + 100 * number) for number in range(900)]
    lines[300:300] = [line(T + 10**11 + number) for number in range(3)]
    summary = Summary()
    events = [one for batch in read(opened(tmp_path, lines), summary) for one in batch]
    assert summary.late == 0
    assert [one[0] >= T + 10**11 for one in events].index(True) == 900


def test_without_durations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a log is in order but for some seconds, and no more is kept waiting."""
    lines = [f'1.2.3.4 - - [02/Mar/2026:10:{n // 60:02}:{n % 60:02} +0000] "GET / HTTP/1.1" 200 1' for n in range(600)]
    batches = read(opened(tmp_path, lines))
    assert len(batches[-1]) < 100


def test_lines_that_can_not_be_read(tmp_path: Path) -> None:
    """They are counted by the reason, and some are shown, with nothing in them that a terminal would obey."""
    hostile = "\x1b[31m<img src=x onerror=alert(1)>" + "x" * 500
    summary = Summary()
    read(opened(tmp_path, [line(T), *[hostile] * 7, line(T)]), summary)
    assert summary.unreadable == {"no object of JSON": 7}
    assert len(summary.samples) == 5
    name, number, why, shown = summary.samples[0]
    assert (name, number, why) == (str(tmp_path / "0.log"), 2, "no object of JSON")
    assert shown.isprintable()
    assert len(shown) < 2 * reading.SHOWN


def test_alone() -> None:
    """Who reads alone asks nobody."""
    assert Alone().split([]) == [[]]
    with pytest.raises(AssertionError):
        Alone().receive(1)
