"""What the demo drives an API with: requests over TCP, answers printed as they came, and checks of what they say."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2

ANYTHING = ".+"
LIMIT_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-window")


@dataclass(frozen=True, slots=True)
class Expected:
    """What an answer has to be. `has` are names of headers with a regular expression for the whole value, `lacks` are
    names of headers that must not be there, and `says` is a part of the body."""

    status: int
    has: Mapping[str, str] = field(default_factory=dict)
    lacks: Sequence[str] = ()
    says: str = ""

    def wrong(self, answer: httpx2.Response) -> Iterator[str]:
        if answer.status_code != self.status:
            yield f"the status is not {self.status}"
        for name, pattern in self.has.items():
            if name not in answer.headers or not re.fullmatch(pattern, answer.headers[name]):
                yield f"the header {name} is not {pattern}"
        for name in self.lacks:
            if name in answer.headers:
                yield f"the header {name} is there"
        if self.says not in answer.text:
            yield f"the body does not say {self.says}"


class Unexpected(Exception):
    """An API did not answer as it documents. Says what was done, what was expected and what came."""


class Api:
    """An API at a URL. `requests` counts what was sent to it, `shown` what was printed of its answers."""

    def __init__(self, name: str, client: httpx2.Client) -> None:
        self.name = name
        self.requests = 0
        self.shown = 0
        self._client = client

    def send(self, method: str, path: str, api_key: str | None = None, **options: Any) -> httpx2.Response:
        """One request and its whole answer. `options` are httpx2's: json, data, auth, headers."""
        self.requests += 1
        return self._request(method, path, api_key, **options)

    def send_until_denied(
        self, method: str, path: str, api_key: str | None = None, **options: Any
    ) -> tuple[int, httpx2.Response]:
        """One request after the other until a 429: how many were let through, and the 429."""
        for count in range(2_000):
            response = self.send(method, path, api_key, **options)
            if response.status_code == 429:
                return count, response
        raise Unexpected(f"{self.name}: 2,000 requests {method} {path} in a row, and none of them was denied")

    def send_at_once(self, times: int, method: str, path: str, api_key: str) -> list[httpx2.Response]:
        """The same request several times, each from a thread and on a connection of its own."""
        self.requests += times
        with ThreadPoolExecutor(times) as threads:
            return list(threads.map(lambda _: self._request(method, path, api_key), range(times)))

    def begin(self, method: str, path: str, api_key: str, **options: Any) -> str:
        """The first piece of an answer's body; the client then hangs up."""
        self.requests += 1
        headers = {"Authorization": f"Bearer {api_key}"}
        with self._client.stream(method, path, headers=headers, **options) as response:
            return next(response.iter_text(), "")

    def until(self, look: Callable[[], int], enough: Callable[[int], bool]) -> int:
        """What a look sees as soon as that is enough, or after 5 s: a server notices in a moment who is gone."""
        deadline = time.monotonic() + 5
        while not enough(seen := look()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return seen

    def check(self, what: str, is_so: bool) -> None:
        if not is_so:
            raise Unexpected(f"{self.name}: expected {what}, and it was not so")

    def show(self, what: str, answer: httpx2.Response, expected: Expected) -> None:
        """Print an answer under what was done for it, and check it."""
        self.shown += 1
        print(f"\n--- {self.name}: {what}\n{as_received(answer)}", flush=True)
        if wrong := list(expected.wrong(answer)):
            raise Unexpected(f"{self.name}: {what}: {', '.join(wrong)} in the answer above")

    def _request(self, method: str, path: str, api_key: str | None = None, **options: Any) -> httpx2.Response:
        if api_key:
            options["headers"] = {"Authorization": f"Bearer {api_key}"}
        return self._client.request(method, path, **options)


def as_received(answer: httpx2.Response) -> str:
    """Status line, headers in their order and the body, as they came over the wire."""
    lines = [f"{answer.http_version} {answer.status_code} {answer.reason_phrase}"]
    lines += [f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in answer.headers.raw]
    return "\n".join([*lines, "", answer.text.removesuffix("\n")])
