"""Obedient clients, of whatever make, ask once a minute at most where a quota is used up in its first days."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import urllib3
from httpx_retries import Retry, RetryTransport

from ratelimit import RateLimitMiddleware
from ratelimit.model import Receive, Scope, Send
from ratelimit.stores.memory import MemoryStore
from ratelimit.styles import Facturapi, Ietf, Lendworks, Lightspeed, WithIetfHeaders
from tests.acceptance import ANA, plain, policy, served
from tests.servers import missing

MINUTE = 60
AS_ANA = {"Authorization": f"Bearer {ANA}"}
STYLES = {
    "facturapi": Facturapi(),
    "lightspeed/date": Lightspeed(),
    "lightspeed/seconds": Lightspeed(retry_after="seconds", legacy_body=True),
    "lendworks": Lendworks(),
    "ietf": Ietf(),
    "longest": WithIetfHeaders(Lendworks(max_retry_after=2_147_000)),
    "longest/date": Lightspeed(max_retry_after=2_147_000),
}
every_style = pytest.mark.parametrize("style", STYLES)


class Apis:
    """At `/<client>/<quota>/<style>` an API with a policy of its own, whose months begin today. `url` is of all."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: Counter[str] = Counter()
        self._limiters: dict[str, RateLimitMiddleware] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path not in self._limiters:
            _, _, quota, style = path.split("/", 3)
            month = f'{{ name = "monthly", quota = "{quota}/month", anchor_day = {datetime.now(UTC).day} }}'
            self._limiters[path] = RateLimitMiddleware(plain, policy(month), store=MemoryStore(), style=STYLES[style])
        self.requests[path] += 1
        await self._limiters[path](scope, receive, send)

    def used_up(self, client: str, style: str) -> str:
        """The path of an API whose quota of this month is used up."""
        path = f"/{client}/1/{style}"
        assert httpx.get(self.url + path, headers=AS_ANA).status_code == 200
        self.requests.clear()
        return path


@pytest.fixture(scope="module")
def apis() -> Iterator[Apis]:
    apis = Apis()
    with served(apis, lifespan="off") as apis.url:
        yield apis


class MinuteOver(Exception):
    """A client would sleep beyond the first minute."""


class Clock:
    """The module `time` for a client, which counts what would be slept. The server, in a thread, has the real one."""

    def __init__(self) -> None:
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        if self.slept >= MINUTE:
            raise MinuteOver

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@every_style
def test_urllib3(style: str, apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Retry` with its respect for Retry-After."""
    path = apis.used_up("urllib3", style)
    monkeypatch.setattr("urllib3.util.retry.time", Clock())
    with urllib3.PoolManager() as client, pytest.raises(MinuteOver):
        client.request("GET", apis.url + path, headers=AS_ANA, retries=urllib3.Retry(total=50, status_forcelist=[429]))
    assert apis.requests == {path: 1}


@every_style
def test_httpx_retries(style: str, apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    """`RetryTransport`, which by default waits two minutes at most."""
    path = apis.used_up("httpx-retries", style)
    monkeypatch.setattr("httpx_retries.retry.time", Clock())
    transport = RetryTransport(retry=Retry(total=50))
    with httpx.Client(transport=transport, headers=AS_ANA) as client, pytest.raises(MinuteOver):
        client.get(apis.url + path)
    assert apis.requests == {path: 1}


def node(urls: list[str]) -> list[list[int]]:
    """Requests and the last status of each call."""
    program = shutil.which("node") or missing("no node on the PATH (Debian: apt-get install nodejs)")
    command = [program, str(Path(__file__).with_name("fetch.mjs")), ANA, *urls]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    told: list[list[int]] = json.loads(ended.stdout)
    return told


def test_fetch_and_set_timeout(apis: Apis) -> None:
    """The snippet of LendWorks' own page, and the same in dates, with what Node makes of their timers."""
    paths = [apis.used_up("node", style) for style in STYLES]
    assert node([apis.url + path for path in paths]) == [[1, 429]] * len(paths)
    assert apis.requests == dict.fromkeys(paths, 1)


def test_what_can_never_pass_is_asked_for_once(apis: Apis) -> None:
    """A closed limit is a 403, which none of them repeats."""
    paths = [f"/closed/0/{style}" for style in STYLES]
    apis.requests.clear()
    assert node([apis.url + path for path in paths]) == [[1, 403]] * len(paths)
    with urllib3.PoolManager(headers=AS_ANA) as client:
        asks: list[Callable[[str], int]] = [lambda url: client.request("GET", url, retries=urllib3.Retry(9)).status]
        with httpx.Client(transport=RetryTransport(), headers=AS_ANA) as other:
            asks.append(lambda url: other.get(url).status_code)
            assert {ask(apis.url + path) for path in paths for ask in asks} == {403}
    assert apis.requests == dict.fromkeys(paths, 3)
