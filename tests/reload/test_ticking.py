"""The one thread: there while a file is watched, and never in the way of an end."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from pathlib import Path

import pytest

from ratelimit.reload import watch as watches
from ratelimit.reload.ticking import Ticking
from tests.acceptance import run
from tests.reload import called, limit_of, limited, messages, rate, watch_of, written


class Counted:
    def __init__(self, steps: int) -> None:
        self.left = steps
        self.done = threading.Event()

    def wanted(self) -> bool:
        if not self.left:
            self.done.set()
        return self.left > 0

    def step(self) -> None:
        self.left -= 1


def no_thread(ticks: Ticking) -> bool:
    for _ in range(1_000):
        if ticks._thread is None:
            return True
        time.sleep(0.005)
    return False


def test_it_ends_when_nothing_is_left() -> None:
    """And begins anew; several are stepped by one thread."""
    ticks = Ticking(every=0.001)
    for _ in range(2):
        one, two = Counted(3), Counted(5)
        ticks.add(one)
        ticks.add(two)
        assert one.done.wait(10)
        assert two.done.wait(10)
        assert no_thread(ticks)


def test_what_is_gone_is_left_out() -> None:
    """It keeps nobody alive."""
    ticks = Ticking(every=0.001)
    ticks.add(Counted(10**9))
    gc.collect()
    assert no_thread(ticks)


def test_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and no request fails."""

    def start(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    ticks = Ticking()
    ticks.add(Counted(1))
    assert ticks._thread is None
    assert messages(caplog.records) == [
        "edits of the policy file wait for a restart, as it can't be watched: can't start new thread"
    ]


def test_in_a_process_that_was_forked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no thread of its parent's, and begins its own with its first request."""
    limiter = limited(written(path, rate(100)))
    ticks = Ticking(every=0.001)
    monkeypatch.setattr(watches, "_ticking", ticks)

    async def test() -> None:
        await called(limiter, times=70)

    run(test())
    assert limiter._renewed
    limiter._renewed._noted = None  # as it is where many have called
    watches._forked()
    assert limiter._renewed._noted is not None
    assert len(watch_of(limiter).callers) == 0
    run(test())


def test_an_edit_is_in_force_within_two_seconds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the thread itself, from the first request on, and it is gone with the event loop."""
    ticks = Ticking(every=0.01)
    monkeypatch.setattr(watches, "_ticking", ticks)
    limiter = limited(written(path, rate(100)))

    async def test() -> None:
        assert limit_of(await called(limiter)) == "100"
        written(path, rate(99))
        while limit_of(await called(limiter)) != "99":  # noqa: ASYNC110 - a thread has it come
            await asyncio.sleep(0.001)

    run(test())
    assert no_thread(ticks)
