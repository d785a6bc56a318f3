"""Marks that tests make are forgotten after each: with none in the process, no request is asked for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ratelimit.routes.marks import MADE


@pytest.fixture(autouse=True)
def marks_forgotten() -> Iterator[None]:
    before = MADE[:]
    yield
    MADE[:] = before
