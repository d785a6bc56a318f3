"""What grows with its callers is not flat, however little it is in all."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import growth
from benchmarks.growth import MIB, Samples, is_flat, slope


def growing(callers: int, each: float) -> Samples:
    """A process of 50 MiB that grows by `each` bytes a caller."""
    step = callers // 40
    return [(number, 50 + number * each / MIB) for number in range(step, callers + 1, step)]


def test_flat() -> None:
    """What grows by 100 bytes a caller is not flat, what jumps in the first half alone is."""
    assert not is_flat(growing(200_000, 100))
    assert is_flat([(number, 50 + min(number, 50_000) * 100 / MIB) for number, _ in growing(200_000, 0)])
    assert round(slope(growing(200_000, 100))) == 100


def test_a_little_is_not_flat_either() -> None:
    """Bytes a caller are what counts, not how much it is in all: 6 bytes each of 2,000 are only 12 kB."""
    assert not is_flat(growing(2_000, 6))
    assert is_flat(growing(1_000_000, 4.9))


@pytest.mark.parametrize(("short", "expected"), [(True, (200_000, 1_000_000)), (False, (1_000_000, 1_000_000))])
def test_how_many_callers(short: bool, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A million on Redis in both forms, and the figure is that of Redis."""
    met: dict[str, int] = {}

    def sample(url: str, callers: int) -> Samples:
        met["memory" if url == "memory://" else "redis"] = callers
        return growing(callers, 100 if url == "memory://" else 4)

    monkeypatch.setattr(growth, "sample", sample)
    table, _, (figure,) = growth.measure(short=short)
    assert (met["memory"], met["redis"]) == expected
    assert [row[1] for row in table.rows] == [*expected]
    assert "1,000,000 different callers" in figure.what
    assert (figure.value, figure.goal, figure.reached) == (4.0, "flat: <= 5", True)
    assert figure.note == "1.91 MiB in all"


def test_each_caller_is_another() -> None:
    """Addresses differ up to the last of a million, and each request reaches the app, with a sample now and then."""
    assert len({growth.request(number)["client"][0] for number in range(0, 1_000_000, 17)}) == len(
        range(0, 1_000_000, 17)
    )
    taken = asyncio.run(growth.meet("memory://", 640))
    assert taken[-1][0] == 640
    assert all(resident > 0 for _, resident in taken)
