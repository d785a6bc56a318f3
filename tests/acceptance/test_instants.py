"""An instant that a client may wait for agrees with `Date`, however wrong the clock of the store is."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2
import pytest

from ratelimit import RateLimitMiddleware
from ratelimit.model import Style
from ratelimit.stores.memory import MemoryStore
from ratelimit.styles import Facturapi, Lendworks, Lightspeed
from tests.acceptance import ANA, plain, policy, served

HOUR = 3_600_000
AS_ANA = {"Authorization": f"Bearer {ANA}"}


def skewed(style: Style, limits: str, skew_ms: int) -> RateLimitMiddleware:
    store = MemoryStore(clock=lambda: time.time_ns() // 1_000_000 + skew_ms)
    return RateLimitMiddleware(plain, policy(limits), store=store, style=style)


@pytest.mark.parametrize("skew_ms", [-24 * HOUR, -5000, 0, 5000, 24 * HOUR])
@pytest.mark.parametrize("style", [Lightspeed(legacy_body=True, reset_header=True), Lendworks()], ids=["dates", "both"])
def test_whatever_the_store_s_clock_says(style: Style, skew_ms: int) -> None:
    """Retry-After, X-RateLimit-Reset, resetAt and the date in a body are a minute from now, as this process has it."""
    app = skewed(style, '{ name = "r", rate = "1/minute" }', skew_ms)
    with served(app) as url, httpx2.Client(headers=AS_ANA) as client:
        before = time.time()
        allowed, denied = client.get(url), client.get(url)
        after = time.time()
    told = [int(answer.headers["x-ratelimit-reset"]) for answer in (allowed, denied)]
    if isinstance(style, Lightspeed):
        told += [seconds(denied.headers["retry-after"]), seconds(denied.json()["retry-after"])]
    else:
        told.append(int(datetime.fromisoformat(denied.json()["errors"][0]["detail"]["resetAt"]).timestamp()))
        told.append(int(after) + int(denied.headers["retry-after"]))
    assert before + 59 < min(told)  # the last of them is in whole seconds
    assert max(told) <= after + 62  # a minute, a sub-window and what is rounded up


def test_the_end_of_a_quota_is_the_calendar_s() -> None:
    """`resetAt` of a quota is the first of the month by the store's own clock, which is the one that ends it."""
    at = int(datetime(2025, 1, 31, 23, tzinfo=UTC).timestamp() * 1000)
    app = RateLimitMiddleware(
        plain, policy('{ name = "m", quota = "1/month" }'), store=MemoryStore(clock=lambda: at), style=Lendworks()
    )
    with served(app) as url, httpx2.Client(headers=AS_ANA) as client:
        client.get(url)
        denied = client.get(url)
    assert denied.json()["errors"][0]["detail"]["resetAt"] == "2025-02-01T00:00:00Z"
    assert denied.headers["retry-after"] == "3600"


def test_reset_of_a_style_that_hides_it() -> None:
    """`expose_limits` of facturapi tells it by this process's clock as well."""
    with served(skewed(Facturapi(expose_limits=True), '{ name = "r", rate = "1/minute" }', -HOUR)) as url:
        before = time.time()
        answer = httpx2.get(url, headers=AS_ANA)
        after = time.time()
    assert before + 60 <= int(answer.headers["x-ratelimit-reset"]) <= after + 62


def test_a_store_that_is_behind_sends_nobody_back_at_once() -> None:
    """The date of a 429 is in the future of the `Date` beside it: a second from now is not four seconds ago."""
    with served(skewed(Lightspeed(), '{ name = "c", rate = "1/second" }', -5000)) as url:
        client = httpx2.Client(headers=AS_ANA)
        denied = next(answer for answer in iter(lambda: client.get(url), None) if answer.status_code == 429)
        client.close()
    assert seconds(denied.headers["retry-after"]) > seconds(denied.headers["date"])


def seconds(date: str) -> int:
    return int(parsedate_to_datetime(date).timestamp())
