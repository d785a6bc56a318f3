"""What the denials of a caller look like: a burst that comes again, one burst, a retry loop, too much all the time."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ratelimit.simulate.analysis.patterns import Shape, densest
from tests.simulate.analysis import HOUR, MINUTE, Asked, T, policy, watched, who

ACME = who("acme")


def shape(denials: Iterable[tuple[int, bytes, int]], admitted: Iterable[int] = ()) -> str:
    made = Shape()
    asked = sorted([*((at, call, wait) for at, call, wait in denials), *((at, b"", -1) for at in admitted)])
    for at, call, wait in asked:
        made.admit(at) if wait < 0 else made.deny(at, call, wait)
    return made.pattern()


def denied(*instants: int, call: bytes = b"GET /", wait: int = 0) -> list[tuple[int, bytes, int]]:
    return [(at, call, wait) for at in instants]


@pytest.mark.parametrize(
    ("instants", "pattern"),
    [
        ([T + n * HOUR + k * 50 for n in range(5) for k in range(9)], "burst at the hour"),
        (
            [T + n * HOUR + 59 * MINUTE + k * 9_000 for n in range(5) for k in range(9)],
            "burst at minute 59 of the hour",
        ),
        ([T + n * 7 * MINUTE + 33_000 + k * 50 for n in range(20) for k in range(9)], "burst at :33"),
        ([T + n * 7 * MINUTE + 57_000 + k * 900 for n in range(20) for k in range(9)], "burst at :57"),
        ([T + 33_000 + k * 50 for k in range(9)], "one burst"),
        (
            [T + 33_000 + k * 50 for k in range(99)] + [T + 9 * HOUR + 20 * MINUTE, T + 19 * HOUR + 40 * MINUTE],
            "uneven",
        ),
        ([T + k * 7_777 for k in range(400)], "steady"),
        ([T, T + HOUR, T + 3 * HOUR, T + 9 * HOUR], "now and then"),
    ],
)
def test_when(instants: list[int], pattern: str) -> None:
    """By the second of the minute and the minute of the hour, where most of it comes then, and came more than twice."""
    assert shape(denied(*instants)) == pattern


def test_a_burst_begins_before_its_first_denial() -> None:
    """Some of it is admitted: what is told is when it was asked."""
    bursts = [T + n * 7 * MINUTE + 33_000 for n in range(20)]
    admitted = [at + k * 50 for at in bursts for k in range(20)]
    assert shape(denied(*[at + 1_500 + k * 50 for at in bursts for k in range(9)]), admitted) == "burst at :33"
    steady = [T + k * 900 for k in range(9_000)]
    assert shape(denied(*[at + 1_500 + k * 50 for at in bursts for k in range(9)]), steady) == "burst at :34"


def test_a_retry_loop() -> None:
    """The same call again before the wait is over, and faster than the caller asks otherwise; or nothing else."""
    loop = [T + k * 700 for k in range(500)]
    assert shape(denied(*loop, wait=30_000)) == "retry loop"
    assert shape(denied(*loop, wait=30_000), [T - 40_000 - k * 20_000 for k in range(30)]) == "retry loop"
    assert shape(denied(*loop, wait=300)) == "steady"
    others = [(at, b"GET /%d" % at, 30_000) for at in loop]
    assert shape(others) == "steady"
    polling = [T + 350 + k * 700 for k in range(500)]
    assert shape(denied(*loop, wait=30_000), polling) == "steady"


def test_on_a_clock_that_goes_round() -> None:
    """A burst may begin before the full minute and end behind it."""
    counts = [0] * 60
    counts[58], counts[2] = 5, 5
    assert densest(counts, counts, 10, 10) == 58
    assert densest(counts, [1] * 60, 10, 10) is None
    assert densest(counts, counts, 4, 10) is None


def test_of_a_log() -> None:
    """A batch job at the full hour is told as one."""
    asked = [Asked(T + n * HOUR + k * 20, ACME, call=b"POST /%d" % k) for n in range(6) for k in range(30)]
    found = watched(policy('{ name = "requests", rate = "9/minute" }'), asked)
    assert found.patterns == {"burst at the hour": 1}
    assert found.hits[0].pattern == "burst at the hour"
