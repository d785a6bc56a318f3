"""Fixtures of pytest for who asks for them: `pytest_plugins = ["ratelimit.testing.plugin"]` in the conftest.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ratelimit.testing.clock import Clock
from ratelimit.testing.limiting import limited_client


@pytest.fixture
def ratelimit_clock() -> Clock:
    """The clock of every `ratelimit_client` of this test."""
    return Clock()


@pytest.fixture
def ratelimit_client(ratelimit_clock: Clock) -> Iterator[Callable[..., Any]]:
    """Called with an app, and the options of `limited_client`, gives a client that is closed when the test ends."""
    with ExitStack() as opened:
        yield lambda app, **options: opened.enter_context(limited_client(app, **{"clock": ratelimit_clock, **options}))
