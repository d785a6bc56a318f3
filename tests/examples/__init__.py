"""The example apps on a clock that stands where it is put."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType
from typing import Any
from unittest.mock import patch

import httpx2
from starlette.testclient import TestClient

from examples.wire import Api
from ratelimit import MemoryStore, Store, opening
from ratelimit.model import Message, Receive, Scope, Send
from ratelimit.styles import wire

NAMES = ("facturapi", "lightspeed", "lendworks", "completions")
CLIENT = "203.0.113.7"


class Example(Api):
    """An example app, seen from outside, at an instant such as `2026-06-01T12:00:00Z`, by its own clock too."""

    def __init__(self, create_app: Callable[[Store], object], now: str) -> None:
        self.at(now)
        opening._denials.clear()  # the app's policy is one object for all tests: one's denials hide another's line
        self.app: Any = create_app(MemoryStore(clock=lambda: self.now_ms))
        self._entered = TestClient(self._seen, client=(CLIENT, 4711))
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
        """Of one request that is sent so often: the client makes it once."""
        first = self.status(method, path, api_key)
        return [first, *self._again(lambda statuses: len(statuses) < times - 1)]

    def send_until_denied(self, method: str, path: str, *rest: Any, **options: Any) -> tuple[int, httpx2.Response]:
        first = self.send(method, path, *rest, **options)
        if first.status_code == 429:
            return 0, first
        statuses = self._again(lambda statuses: statuses[-1:] != [429] and len(statuses) < 2_000)
        denied = self.send(method, path, *rest, **options)
        assert (statuses[-1], denied.status_code) == (429, 429)
        return len(statuses), denied

    async def _seen(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app as the client calls it."""
        if scope["type"] == "http":
            self._scope, self._body = {**scope}, await receive()
            first = [self._body]

            async def receive_again() -> Message:
                return first.pop() if first else await receive()

            await self.app(scope, receive_again, send)
        else:
            await self.app(scope, receive, send)

    def _again(self, goes_on: Callable[[list[int]], bool]) -> list[int]:
        """The client's last request, once more and once more: their statuses."""
        statuses: list[int] = []

        async def receive() -> Message:
            return self._body

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def ask() -> None:
            while goes_on(statuses):
                await self.app({**self._scope}, receive, send)

        assert self._entered.portal
        self._entered.portal.call(ask)
        return statuses


def ms(instant: str) -> int:
    return int(datetime.fromisoformat(instant).astimezone(UTC).timestamp() * 1000)


def api_keys(module: ModuleType) -> list[str]:
    """The API keys that the keys.py of an example documents."""
    return [value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)]
