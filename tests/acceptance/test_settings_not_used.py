"""What a policy says of its store, and is not used because the middleware has another one, is said at the start."""

from __future__ import annotations

import gc
import logging
from dataclasses import replace
from typing import Any

import pytest
import redis.asyncio

from ratelimit import MemoryStore, Policy, RateLimitMiddleware, RedisStore, parse_policy
from ratelimit.policy import StoreSettings
from tests.acceptance import plain

URL = "redis://:s3cret@127.0.0.1:1/0"
BY_CODE = "made by your code: say it there (prefix=…, timeout=… in seconds), or give a URL; on_failure is used"


def of(settings: str) -> Policy:
    return parse_policy(
        f'[store]\n{settings}\n[tiers.anonymous]\nlimits = [ {{ name = "ip", rate = "1/minute" }} ]', "p"
    )


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    gc.collect()  # what other tests have left may be of the same file, and told of
    caplog.set_level(logging.INFO, "ratelimit")

    class Said(list[tuple[int, str]]):
        def __eq__(self, other: object) -> bool:
            return [(record.levelno, record.getMessage()) for record in caplog.records] == other

    return Said()


def on_redis(**rest: Any) -> RedisStore:
    return RedisStore(redis.asyncio.Redis(port=1), **rest)


@pytest.mark.parametrize(
    ("settings", "store", "what"),
    [
        ('prefix = "acme"', on_redis(), 'store.prefix = "acme" is not used, as the store is a RedisStore'),
        ('timeout = "250ms"', on_redis(), "store.timeout = 250 ms is not used, as the store is a RedisStore"),
        (
            'prefix = "acme"\ntimeout = "2s"',
            on_redis(),
            'store.prefix = "acme" and store.timeout = 2000 ms are not used, as the store is a RedisStore',
        ),
        (
            f'url = "{URL}"\nprefix = "acme"',
            MemoryStore(),
            'store.prefix = "acme" and store.url are not used, as the store is a MemoryStore',
        ),
        # written out in the file, it is meant, though it is the default
        (
            'prefix = "ratelimit"',
            on_redis(prefix="acme"),
            'store.prefix = "ratelimit" is not used, as the store is a RedisStore',
        ),
        ('timeout = "100ms"', on_redis(timeout=1), "store.timeout = 100 ms is not used, as the store is a RedisStore"),
    ],
)
def test_a_store_that_is_given(settings: str, store: Any, what: str, said: Any) -> None:
    """A warning with the values and where they are to be said; never the URL."""
    RateLimitMiddleware(plain, of(settings), store=store)
    assert said == [(logging.WARNING, f"p: {what}, {BY_CODE}")]


@pytest.mark.parametrize(
    ("settings", "store"),
    [
        ('on_failure = "deny"', on_redis()),
        ("", on_redis(prefix="acme", timeout=2)),
        ('prefix = "acme"\ntimeout = "2s"', on_redis(prefix="acme", timeout=2.0)),
        ('prefix = "acme"\ntimeout = "2s"', "redis://127.0.0.1:1"),
        ('prefix = "acme"\ntimeout = "2s"', None),
        (f'url = "{URL}"', URL),
    ],
)
def test_what_is_used(settings: str, store: Any, said: Any) -> None:
    """Nothing is said of what is as the file has it, by code or by itself."""
    RateLimitMiddleware(plain, of(settings), store=store)
    assert said == []


@pytest.mark.parametrize("named_by", ["store", "RATELIMIT_STORE_URL"])
def test_another_url(named_by: str, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes the place of the file's, as it is meant to: a line, and no warning."""
    if named_by == "RATELIMIT_STORE_URL":
        monkeypatch.setenv(named_by, "memory://")
    RateLimitMiddleware(
        plain, of(f'url = "{URL}"\nprefix = "acme"'), store="memory://" if named_by == "store" else None
    )
    line = f"p: store.url is not used, as the store is that of {named_by}, which comes before it"
    assert said == [(logging.INFO, line)]


def test_a_url_and_a_store(said: Any) -> None:
    """Where the URL alone is not used it may well be the same one: a line, and no warning."""
    RateLimitMiddleware(plain, of(f'url = "{URL}"'), store=on_redis())
    assert said == [(logging.INFO, f"p: store.url is not used, as the store is a RedisStore, {BY_CODE}")]


def test_once_for_several_middlewares(said: Any) -> None:
    """Mounts and routes with one policy say it once, and again only of another store."""
    shared = of('prefix = "acme"')
    for store in (on_redis(), on_redis(), MemoryStore(), on_redis()):
        RateLimitMiddleware(plain, shared, store=store)
    words = [
        f'p: store.prefix = "acme" is not used, as the store is a {kind}, {BY_CODE}'
        for kind in ("RedisStore", "MemoryStore")
    ]
    assert said == [(logging.WARNING, line) for line in words]


def test_settings_made_by_hand(said: Any) -> None:
    """Of a policy without a file what differs from the defaults is said, in a line whatever it holds."""
    made = replace(of(""), store=StoreSettings(prefix="acme", timeout_ms=100), origin="")
    RateLimitMiddleware(plain, made, store=MemoryStore())
    assert said == [
        (logging.WARNING, f'the policy: store.prefix = "acme" is not used, as the store is a MemoryStore, {BY_CODE}')
    ]
