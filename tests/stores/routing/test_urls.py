"""URLs of stores: what those with sentinels say, and user and password of the environment."""

from __future__ import annotations

import traceback

import pytest

from ratelimit.stores import SCHEMES, open_store
from ratelimit.stores.connection.handshake import Address
from ratelimit.stores.redis import RedisStore
from ratelimit.stores.routing.urls import SentinelUrl, with_credentials

NAMES = ("USERNAME", "PASSWORD", "SENTINEL_USERNAME", "SENTINEL_PASSWORD")
SECRET = "s3cret"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(f"RATELIMIT_STORE_{name}", f"{name.lower()}/@")


@pytest.mark.parametrize(
    ("url", "sentinels", "name", "node", "sentinel"),
    [
        ("redis+sentinel://h1:5,h2/m", [("h1", 5), ("h2", 26_379)], "m", "redis://h:1/", "redis://h:1"),
        ("REDISS+sentinel://[::1]/m/7", [("::1", 26_379)], "m", "rediss://h:1/7", "rediss://h:1"),
        (
            "redis+sentinel://ana:p%40,s@h1/my%20m?protocol=3&db=2",
            [("h1", 26_379)],
            "my m",
            "redis://ana:p%40,s@h:1/?protocol=3&db=2",
            "redis://h:1?protocol=3",
        ),
        (
            "redis+sentinel://:p@h1/m?sentinel_username=bob&sentinel_password=q%26&username=ana",
            [("h1", 26_379)],
            "m",
            "redis://:p@h:1/?username=ana",
            "redis://h:1?username=bob&password=q%26",
        ),
    ],
)
def test_sentinels(url: str, sentinels: list[tuple[str, int]], name: str, node: str, sentinel: str) -> None:
    """User, password and database are the master's, the sentinels have options for theirs, and all others hold for
    both."""
    read = SentinelUrl.of(url)
    assert (list(read.sentinels), read.name) == (sentinels, name)
    assert (read.node(Address("h", 1)), read.sentinel(Address("h", 1))) == (node, sentinel)
    assert read.sentinel(Address("::1", 1)).partition("://")[2].startswith("[::1]:1")
    assert isinstance(open_store(url), RedisStore)


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("redis://h", "redis://username%2F%40:password%2F%40@h"),
        ("rediss://ana@h:1/0", "rediss://ana:password%2F%40@h:1/0"),
        ("redis://:p@h", "redis://username%2F%40:p@h"),
        ("redis://ana:p@h?protocol=3", "redis://ana:p@h?protocol=3"),
        ("redis://h?username=ana&password=p", "redis://h?username=ana&password=p"),
        ("unix:///run/redis.sock?db=1", "unix://username%2F%40:password%2F%40@/run/redis.sock?db=1"),
        ("redis+cluster://h1:1,h2:2", "redis+cluster://username%2F%40:password%2F%40@h1:1,h2:2"),
        (
            "redis+sentinel://:p@h1/m?protocol=3&sentinel_username=bob",
            "redis+sentinel://username%2F%40:p@h1/m?protocol=3&sentinel_username=bob"
            "&sentinel_password=sentinel_password%2F%40",
        ),
    ],
)
@pytest.mark.usefixtures("environment")
def test_the_environment(url: str, whole: str) -> None:
    """User and password are the environment's where the URL has none: each by itself, for every scheme."""
    assert with_credentials(url) == whole


def test_only_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a password is a user, and without the environment a URL stays as it is."""
    assert with_credentials("redis+sentinel://h1/m") == "redis+sentinel://h1/m"
    assert with_credentials("unix:///run/redis.sock") == "unix:///run/redis.sock"
    monkeypatch.setenv("RATELIMIT_STORE_USERNAME", "ana")
    assert with_credentials("redis://h") == "redis://ana@h"


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "memory"])
@pytest.mark.parametrize(
    "rest",
    [
        f":12#{SECRET}@h:6379/m/0",
        f":12?{SECRET}@h:6379/m/0",
        f":12/{SECRET}@h:6379/m/0",
        f"ana:12#{SECRET}@h/m",
        f":{SECRET}/@h/m",
        f":{SECRET}@h:x/m?no_such_option=1",
        f":{SECRET}@[::1/m",
        f"h/m?password={SECRET}&no_such_option=1",
        f"h/m?socket_timeout={SECRET}",
    ],
)
def test_urls_that_cannot_be_read(scheme: str, rest: str) -> None:
    """A URL with a mistake is refused when the store is made, and no message, cause or context has the password; also
    where it has a character that ends the address, so that a part of it would be taken for the host."""
    with pytest.raises(ValueError, match="URL") as raised:
        open_store(f"{scheme}://{rest}")
    assert SECRET not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("", "has an address that can't be read"),
        ("h1,", "has an address that can't be read"),
        ("h1:0/m", "has an address that can't be read"),
        ("[::1/m", "has an address that can't be read"),
        ("h1:99999/m", "has an address that can't be read"),
        ("h1", "does not say which master the sentinels are to be asked for"),
        ("h1/", "does not say which master the sentinels are to be asked for"),
        ("h1//0", "does not say which master the sentinels are to be asked for"),
        ("h1/m/x", "has a database that is not a number"),
        ("h1/m/0/1", "has a database that is not a number"),
        ("h1/m/²", "has a database that is not a number"),
    ],
)
def test_sentinels_that_cannot_be_read(rest: str, message: str) -> None:
    """A mistake in a URL with sentinels is told with how it is written."""
    with pytest.raises(ValueError, match=f"the URL of the store {message}; write redis") as raised:
        open_store(f"redis+sentinel://:{SECRET}@{rest}")
    assert SECRET not in "".join(traceback.format_exception(raised.value))


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("url", ["redis://h", "unix:///s", "redis+cluster://h", "redis+sentinel://h/m"])
def test_nothing_shows_a_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a store nor what it is made of shows a password."""
    for name in NAMES:
        monkeypatch.setenv(f"RATELIMIT_STORE_{name}", SECRET)
    store = open_store(url)
    whole = with_credentials("redis+sentinel://h/m")
    assert SECRET in whole
    assert SECRET not in f"{store!r} {vars(store)!r} {SentinelUrl.of(whole)!r}"
