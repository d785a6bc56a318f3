"""The client that a test has, as its types see it."""

from __future__ import annotations

from starlette.testclient import TestClient

from ratelimit.testing.clock import Clock
from ratelimit.testing.recorded import Recorded


class LimitedClient(TestClient):
    """Starlette's TestClient, with the clock of the limits and what they have decided, the latest last."""

    clock: Clock
    decisions: list[Recorded]
