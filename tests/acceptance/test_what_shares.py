"""What shares a counter and what does not, row by row as docs/promises.md has it, in memory and on Redis."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from ratelimit import Policy, RateLimitMiddleware, load_policy, open_store
from tests.acceptance import ANA, BEN, ask, header, plain, policy

ROOT = Path(__file__).parents[2]
NUMBERS = count()
REQUESTS = '{ name = "requests", rate = "9/minute" }'
ONE, APART = 7, 8  # remaining of 9 for the second of two requests


class Place:
    """Where counters live: policies and middlewares that count there."""

    def __init__(self, name: str, url: str, path: Path) -> None:
        self.name, self.url, self.path = name, url, path
        self.prefix = f"shares{next(NUMBERS)}"
        self._opened: list[RateLimitMiddleware] = []

    def policy(self, limits: str = REQUESTS, prefix: str = "", more: str = "") -> Policy:
        store = f'[store]\nurl = "{self.url}"\nprefix = "{prefix or self.prefix}"\ntimeout = "10s"'
        return policy(limits, more=f"{store}\n{more}")

    def limiter(self, of: Policy | Path, app=plain, **rest: object) -> RateLimitMiddleware:
        self._opened.append(made := RateLimitMiddleware(app, of, **rest))
        return made

    def file(self) -> Path:
        """A policy file for anybody."""
        self.path.write_text(
            f'style = "lightspeed"\n[store]\nurl = "{self.url}"\nprefix = "{self.prefix}"\ntimeout = "10s"\n'
            '[tiers.anonymous]\nlimits = [ { name = "requests", rate = "9/minute" } ]\n'
        )
        return self.path

    def remaining(self, *limiters: RateLimitMiddleware, api_keys: tuple[str | None, ...] = (ANA,)) -> int:
        """After a request to each, what the last one said."""

        async def test() -> str | None:
            for number, limiter in enumerate(limiters):
                start, _ = await ask(limiter, api_key=api_keys[number % len(api_keys)])
                assert start["status"] == 200
            for limiter in limiters:
                await limiter.store.close()
            return header(start, "x-ratelimit-remaining")

        return int(asyncio.run(test()) or "")


@pytest.fixture(params=["memory", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    url = "memory://" if request.param == "memory" else request.getfixturevalue("valkey").url
    return Place(request.param, url, tmp_path / "ratelimit.toml")


def one_object(place: Place) -> int:
    of = place.policy()
    return place.remaining(place.limiter(of), place.limiter(of))


def threads(place: Place) -> int:
    limiter, seen = place.limiter(place.policy()), []
    for _ in range(2):
        thread = threading.Thread(target=lambda: seen.append(place.remaining(limiter)))
        thread.start()
        thread.join()
    return seen[-1]


def one_policy_twice(place: Place) -> int:
    of = place.policy()
    return place.remaining(place.limiter(of, place.limiter(of)))


def one_file_twice_on_a_request(place: Place) -> int:
    file = place.file()
    return place.remaining(place.limiter(file, place.limiter(file)), api_keys=(None,))


def two_policies_on_a_request(place: Place) -> int:
    store = open_store(place.url, prefix=place.prefix, timeout=10)
    inner = place.limiter(place.policy(more="[operations]"), store=store)
    return place.remaining(place.limiter(place.policy(), inner, store=store))


def two_tiers(place: Place) -> int:
    of = place.policy()
    tiers = dict.fromkeys(("basic", "new"), of.tiers["basic"])
    both = Policy(tiers, of.identify, of.classify, of.style, of.address, store=of.store)
    upgraded = place.limiter(both, identify=lambda scope: of.identify(scope)._replace(tier="new"))
    return place.remaining(place.limiter(both), upgraded)


def two_callers(place: Place) -> int:
    of = place.policy()
    return place.remaining(place.limiter(of), place.limiter(of), api_keys=(ANA, BEN))


def another(limits: str) -> Callable[[Place], int]:
    def row(place: Place) -> int:
        store = open_store(place.url, prefix=place.prefix, timeout=10)
        both = place.policy(), place.policy(limits)
        return place.remaining(*[place.limiter(of, store=store) for of in both])

    return row


def policies_beside_each_other(place: Place) -> int:
    return place.remaining(place.limiter(place.policy()), place.limiter(place.policy(more="[operations]")))


def with_one_store_object(place: Place) -> int:
    store = open_store(place.url, prefix=place.prefix, timeout=10)
    both = place.policy(), place.policy(more="[operations]")
    return place.remaining(*[place.limiter(of, store=store) for of in both])


def another_prefix(place: Place) -> int:
    return place.remaining(place.limiter(place.policy()), place.limiter(place.policy(prefix=f"{place.prefix}-2")))


def one_file_twice(place: Place) -> int:
    file = place.file()
    return place.remaining(place.limiter(load_policy(file)), place.limiter(file), api_keys=(None,))


def one_file_twice_with_one_store_object(place: Place) -> int:
    file, store = place.file(), open_store(place.url, prefix=place.prefix, timeout=10)
    return place.remaining(*[place.limiter(file, store=store) for _ in range(2)], api_keys=(None,))


IN_A_PROCESS = """
import asyncio, sys
from ratelimit import RateLimitMiddleware

async def app(scope, receive, send):
    print(scope["ratelimit"].states[0].remaining)

scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": ("192.0.2.7", 1)}
asyncio.run(RateLimitMiddleware(app, sys.argv[1])(scope, None, None))
"""


def processes(place: Place) -> int:
    command = [sys.executable, "-c", IN_A_PROCESS, place.file()]
    assert int(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout) == 8
    return place.remaining(place.limiter(place.path), api_keys=(None,))


ROWS = {
    one_object: (ONE, ONE),
    threads: (ONE, ONE),
    one_policy_twice: (APART, APART),  # counted once
    one_file_twice_on_a_request: (APART, APART),
    two_policies_on_a_request: (APART, APART),
    two_tiers: (ONE, ONE),
    two_callers: (APART, APART),
    another('{ name = "others", rate = "9/minute" }'): (APART, APART),
    another('{ name = "requests", rate = "9/hour" }'): (APART, APART),
    another('{ name = "requests", rate = "9/minute", precision = 30 }'): (APART, APART),
    another('{ name = "requests", rate = "9/minute", per = ["identity", "ip"] }'): (APART, APART),
    another('{ name = "requests", rate = "9/minute", operations = ["detail_read"], cost = 1 }'): (
        ONE,
        ONE,
    ),
    policies_beside_each_other: (APART, ONE),
    with_one_store_object: (ONE, ONE),
    another_prefix: (APART, APART),
    one_file_twice: (APART, ONE),
    one_file_twice_with_one_store_object: (ONE, ONE),
    processes: (APART, ONE),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_row(row: Callable[[Place], int], place: Place) -> None:
    """Two requests are in one counter, or each in its own, as the table says for that store."""
    assert row(place) == ROWS[row][place.name == "redis"]
