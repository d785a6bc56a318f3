"""The example apps on a clock that stands where it is put."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType
from unittest.mock import patch

from starlette.testclient import TestClient

from examples.wire import Api
from ratelimit import MemoryStore, Store, opening
from ratelimit.styles import wire

NAMES = ("facturapi", "lightspeed", "lendworks")
CLIENT = "203.0.113.7"


class Example(Api):
    """An example app, seen from outside, at an instant such as `2026-06-01T12:00:00Z`, by its own clock too."""

    def __init__(self, create_app: Callable[[Store], object], now: str) -> None:
        self.at(now)
        opening._denials.clear()  # the app's policy is one object for all tests: one's denials hide another's line
        self.app = create_app(MemoryStore(clock=lambda: self.now_ms))
        self._entered = TestClient(self.app, client=(CLIENT, 4711))
        super().__init__("example", self._entered)

    def __enter__(self) -> Example:
        self._clock = patch.object(wire, "now_ms", lambda: self.now_ms)
        self._clock.start()
        self._entered.__enter__()  # one event loop for all requests
        return self

    def __exit__(self, *raised: object) -> None:
        self._entered.__exit__(*raised)
        self._clock.stop()

    def at(self, now: str) -> None:
        self.now_ms = ms(now)

    def wait(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)

    def status(self, method: str, path: str, api_key: str | None = None) -> int:
        return self.send(method, path, api_key).status_code

    def statuses(self, times: int, method: str, path: str, api_key: str | None = None) -> list[int]:
        return [self.status(method, path, api_key) for _ in range(times)]


def ms(instant: str) -> int:
    return int(datetime.fromisoformat(instant).astimezone(UTC).timestamp() * 1000)


def api_keys(module: ModuleType) -> list[str]:
    """The API keys that the keys.py of an example documents."""
    return [value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)]
