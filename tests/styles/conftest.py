from __future__ import annotations

from collections.abc import Iterator

import pytest

from ratelimit.styles import wire
from tests.styles import CLOCK


@pytest.fixture(autouse=True, scope="module")
def clock() -> Iterator[None]:
    """The clock of this process goes with the decisions that a test makes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "now_ms", lambda: CLOCK[0])
        yield
