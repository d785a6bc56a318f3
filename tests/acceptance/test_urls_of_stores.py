"""The URL of a store is read whole, and the same wherever it is given: what nobody could mean is refused."""

from __future__ import annotations

import inspect
import traceback
from typing import Any
from urllib import parse

import pytest
from redis.asyncio.connection import (
    URL_QUERY_ARGUMENT_PARSERS,
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)

from ratelimit import PolicyError, RateLimitMiddleware, RedisStore, open_store, parse_policy
from ratelimit.stores import SCHEMES
from ratelimit.stores.routing.options import OF_ALL, OF_SENTINELS, OF_TCP, OF_TLS
from ratelimit.stores.routing.urls import ClusterUrl, SentinelUrl
from tests.acceptance import plain

MISTAKES = [
    ("redis://h/0?foo=1", "has an option foo that no store knows; known are client_name, db, decode_responses,"),
    ("redis://h/0?socket_timout=1", 'has an option that no store knows; did you mean "socket_timeout"?'),
    ("redis://h/0?DB=1", 'has an option that no store knows; did you mean "db"?'),
    ("redis://h?s3cret", "has an option that no store knows; known are"),
    ("redis+cluster://h/0?foo=1", "has an option foo that no store knows"),
    ("redis+sentinel://h/m?foo=1", "has an option foo that no store knows"),
    ("unix:///s?foo=1", "has an option foo that no store knows"),
    ("unix:///s?socket_keepalive=1", "has an option socket_keepalive, which this kind of URL does not know"),
    ("redis://h?sentinel_password=s3cret", "has an option sentinel_password, which this kind of URL does not know"),
    ("redis://h?ssl_cert_reqs=none", "has an option ssl_cert_reqs, which is of TLS; that begins with rediss"),
    ("valkey://h?ssl_cert_reqs=none", "has an option ssl_cert_reqs, which is of TLS; that begins with rediss"),
    ("redis://h?host=h2", "has an option host that no store knows"),
    (
        "redis://h?socket_timeout=abc",
        "has an option socket_timeout that can't be read; write a number of seconds above 0",
    ),
    ("redis://h?socket_timeout=0", "has an option socket_timeout that can't be read"),
    ("redis://h?socket_timeout=-1", "has an option socket_timeout that can't be read"),
    ("redis://h?socket_timeout=inf", "has an option socket_timeout that can't be read"),
    ("redis://h?socket_timeout=" + "9" * 400, "has an option socket_timeout that can't be read"),
    ("redis://h?socket_timeout=1_0", "has an option socket_timeout that can't be read"),
    ("redis://h?socket_timeout=", "has an option socket_timeout without a value; write a number of seconds above 0"),
    ("redis://h?db=x", "has an option db that can't be read; write the number of a database"),
    ("redis://h?db=-1", "has an option db that can't be read"),
    ("redis://h?db=\u0661", "has an option db that can't be read"),
    ("redis://h?protocol=4", "has an option protocol that can't be read; write 2 or 3"),
    ("redis://h?max_connections=0", "has an option max_connections that can't be read; write a whole number from 1 on"),
    ("redis://h?socket_keepalive=off", "has an option socket_keepalive that can't be read; write true or false"),
    ("redis://h?encoding=utf-16", "has an option encoding that can't be read; write an encoding, such as utf-8"),
    ("redis://h?encoding=klingon", "has an option encoding that can't be read"),
    ("redis://h?client_name=my%20app", "has an option client_name that can't be read; write printable ASCII without"),
    (
        "rediss://h?ssl_cert_reqs=sometimes",
        "has an option ssl_cert_reqs that can't be read; write none, optional or req",
    ),
    ("rediss://h?ssl_min_version=1.2", "has an option ssl_min_version that can't be read; write 771 for TLS 1.2"),
    ("rediss://h?ssl_ciphers=none", "has an option ssl_ciphers that can't be read"),
    ("rediss://h?ssl_include_verify_flags=VERIFY", "has an option ssl_include_verify_flags that can't be read"),
    ("redis://h?protocol=2&protocol=3", "says its protocol twice; write it once"),
    ("redis://h/1?db=1", "says its db twice; write it once"),
    ("redis+sentinel://h/m/1?db=1", "says its db twice; write it once"),
    ("redis://ana:s3cret@h?username=ana", "says its username twice; write it once"),
    ("redis://:s3cret@h?password=s3cret", "says its password twice; write it once"),
    ("redis://h/abc", "has a database that is not a number; write redis://host:6379/0"),
    ("redis://h/0/1", "has a database that is not a number"),
    ("redis://h/\u0661", "has a database that is not a number"),
    ("redis+cluster://h/abc", "has a database that is not a number"),
    ("redis+sentinel://h/m/abc", "has a database that is not a number"),
    ("redis://h/0#1", "has a #, behind which nothing is read; in a password write %23 for it"),
    ("redis://h1,h2/0", "has more than one address; write redis+cluster://h1:7000,h2:7001 for a cluster,"),
    ("redis://h1 /0", "has an address that can't be read"),
    ("redis+cluster://h1:7000, h2:7001", "has an address that can't be read"),
    ("redis://[::1/0", "has an address that can't be read"),
    ("redis://::1/0", "has an address that can't be read"),
    ("redis://[1.2.3.4]/0", "has an address that can't be read"),
    ("redis+cluster://[::1]x:7000", "has an address that can't be read"),
    ("redis+cluster://x[::1]:7000", "has an address that can't be read"),
    ("unix://run/redis.sock", "has a path of a socket that does not begin with /; write unix:///run/redis.sock"),
    ("unix://", "has no path of a socket"),
    ("memory://?db=1", "has more than memory://, which stands alone"),
]


@pytest.mark.parametrize(("url", "problem"), MISTAKES)
def test_a_mistake_is_the_same_everywhere(url: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a policy file, by open_store, in the environment: the mistake is told in the same words, without a secret."""
    with pytest.raises(PolicyError) as in_a_file:
        parse_policy(f'store.url = "{url}"\ntiers.anonymous.limits = []', "x")
    assert str(in_a_file.value).startswith(f"x: store.url: {problem}")
    policy = parse_policy("tiers.anonymous.limits = []")
    monkeypatch.setenv("RATELIMIT_STORE_URL", url)
    for refused in (lambda: open_store(url), lambda: RateLimitMiddleware(plain, policy)):
        with pytest.raises(ValueError, match="the URL of the store ") as error:
            refused()  # type: ignore[no-untyped-call]
        assert str(error.value) == str(in_a_file.value).replace("x: store.url:", "the URL of the store")
        assert "s3cret" not in "".join(traceback.format_exception(error.value))


GOOD = [
    *(
        "redis://",
        "redis://:6379",
        "redis://h",
        "redis://h/",
        "redis://H:1/2",
        " redis://h/0\n",
        "redis://[fe80::1%eth0]/0",
    ),
    *(
        "redis://h?password=",
        "redis://h?socket_timeout=.5&socket_connect_timeout=2.&health_check_interval=0&protocol=3",
    ),
    *(
        "redis://h?db=3&decode_responses=True&encoding=latin-1&client_name=api",
        "unix:///run/redis.sock?db=1&password=x",
    ),
    "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false&ssl_min_version=772&ssl_ciphers=HIGH&ssl_ca_certs=/x.pem"
    "&ssl_include_verify_flags=[VERIFY_X509_STRICT, VERIFY_X509_PARTIAL_CHAIN]",
    *(
        "redis+cluster://[::1]:7000,[::1]:7001",
        "redis+cluster://h1,[::1]:7001,h2/0",
        "redis+sentinel://h1,[::1],h2:5/m/1",
    ),
]


@pytest.mark.parametrize("rest", ["h?password=s3cret\udce9", ":s3cret\udce9@h/m", "h/m\udce9", ":s3cret%E9@h/m"])
@pytest.mark.parametrize("scheme", ["redis", "rediss+sentinel", "redis+cluster", "unix"])
def test_what_is_not_in_utf_8_is_refused(scheme: str, rest: str) -> None:
    """Where the environment that a URL is from is in another encoding: it could never be sent."""
    with pytest.raises(ValueError, match="the URL of the store is not in UTF-8; write what is not ASCII as %XX of its"):
        open_store(f"{scheme}://{rest}")


@pytest.mark.parametrize("name", ["USERNAME", "PASSWORD", "SENTINEL_USERNAME", "SENTINEL_PASSWORD"])
def test_the_same_of_what_stands_beside_the_url(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable, and neither it nor the error holds what is in it."""
    monkeypatch.setenv(f"RATELIMIT_STORE_{name}", "s3cret\udce9")
    with pytest.raises(ValueError, match=f"variable RATELIMIT_STORE_{name} is not in UTF-8") as raised:
        open_store("redis+sentinel://h/m")
    assert not isinstance(raised.value, UnicodeError)


@pytest.mark.parametrize("url", GOOD)
def test_what_is_meant_is_taken(url: str) -> None:
    """Every way to write a URL that redis-py has, and lists of hosts with IPv6 addresses among them."""
    open_store(url)
    parse_policy(f"store.url = '''{url}'''\ntiers.anonymous.limits = []")


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme.startswith("redis")])
@pytest.mark.parametrize("spelled", ["valkey", "Valkey", "VALKEY"])
def test_valkey_is_another_word_for_redis(scheme: str, spelled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """valkey:// and valkeys://, also with sentinels and of a cluster, are what redis:// and rediss:// are."""
    monkeypatch.delenv("RATELIMIT_STORE_URL", raising=False)
    rest = "://ana:p@h1:7000/m/1" if "sentinel" in scheme else "://ana:p@h1:7000/0"
    url = scheme.replace("redis", spelled) + rest
    assert isinstance(open_store(url), RedisStore)
    assert isinstance(RedisStore(url), RedisStore)
    policy = parse_policy(f'store.url = "{url}"\ntiers.anonymous.limits = []')
    assert isinstance(RateLimitMiddleware(plain, policy).store, RedisStore)
    monkeypatch.setenv("RATELIMIT_STORE_URL", url)
    assert isinstance(RateLimitMiddleware(plain, parse_policy("tiers.anonymous.limits = []")).store, RedisStore)
    if "+" not in scheme:
        mine, theirs = (RedisStore(other + rest)._at for other in (scheme.replace("redis", spelled), scheme))
        assert mine.connection_class is theirs.connection_class
        for name in ("host", "port", "db", "username", "password"):
            assert mine.connection_kwargs[name] == theirs.connection_kwargs[name]


def test_each_store_has_its_own_urls() -> None:
    """A store that is made by hand says of another's URL who takes it."""
    with pytest.raises(ValueError, match="open_store takes any"):
        RedisStore("memory://")
    with pytest.raises(ValueError, match="has a database that is not a number"):
        RedisStore("redis://h/abc")
    with pytest.raises(ValueError, match="has an option foo"):
        RedisStore("redis+cluster://h?foo=1")


# What a URL can't give: objects, what is written before the ?, and what redis-py refuses by itself.
IN_CODE = {
    *("args", "kwargs", "connection_kwargs", "self", "host", "port", "path"),
    *("connection_class", "credential_provider", "driver_info", "encoder_class", "event_dispatcher", "parser_class"),
    *("redis_connect_func", "retry", "retry_on_error", "socket_keepalive_options", "socket_type", "timeout"),
}


def test_the_options_are_those_of_redis_py() -> None:
    """The fixed list has every option that the installed redis-py reads from a URL, each of the right kind of URL."""
    of: dict[type, set[str]] = {}
    for kind in (AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection, ConnectionPool):
        of[kind] = set(inspect.signature(kind.__init__).parameters)
    objects = {
        name for names in of.values() for name in names if name.startswith(("maint", "orig_", "oss_", "himport"))
    }
    unknown = IN_CODE | objects
    assert (of[AbstractConnection] | of[ConnectionPool]) - unknown == OF_ALL.keys()
    assert of[Connection] - unknown == OF_TCP.keys()
    assert of[SSLConnection] - unknown == OF_TLS.keys()
    assert of[UnixDomainSocketConnection] - unknown == set()
    assert set(URL_QUERY_ARGUMENT_PARSERS) - unknown <= {*OF_ALL, *OF_TCP, *OF_TLS}
    assert OF_SENTINELS.keys().isdisjoint({*OF_ALL, *OF_TCP, *OF_TLS})


def strict(netloc: str) -> None:
    """What Python 3.14 demands of what stands in brackets: urllib.parse._check_bracketed_netloc."""
    before, opened, bracketed = netloc.rpartition("@")[2].partition("[")
    if opened and (before or ((behind := bracketed.partition("]")[2]) and not behind.startswith(":"))):
        raise ValueError("Invalid IPv6 URL")


@pytest.mark.parametrize(
    ("hosts", "addresses"),
    [
        ("[::1]:7000,[::1]:7001", [("::1", 7000), ("::1", 7001)]),
        ("h1,[::1]:7001", [("h1", None), ("::1", 7001)]),
        ("[::1],[2001:DB8::2]", [("::1", None), ("2001:db8::2", None)]),
        ("[fe80::1%Eth0]:1,H2:2", [("fe80::1%Eth0", 1), ("h2", 2)]),
    ],
)
def test_ipv6_whatever_urlsplit_refuses(
    hosts: str, addresses: list[tuple[str, int | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists of hosts with IPv6 addresses are read where urlsplit takes one address alone, as Python 3.14's does."""
    whole = parse.urlsplit

    def urlsplit(url: str, *rest: Any) -> Any:  # which redis-py's parser calls too
        strict(url.partition("://")[2].partition("/")[0])
        return whole(url, *rest)

    monkeypatch.setattr(parse, "urlsplit", urlsplit)
    for scheme, port, reading in (("redis+cluster", 6_379, ClusterUrl), ("redis+sentinel", 26_379, SentinelUrl)):
        url = f"{scheme}://ana:p@{hosts}/{'m/' if reading is SentinelUrl else ''}0?protocol=3"
        read: Any = reading.of(url)
        found = read.nodes if reading is ClusterUrl else read.sentinels
        assert [*found] == [(host, port if number is None else number) for host, number in addresses]
        open_store(url)
        for address in found:
            assert parse.urlsplit(read.node(address)).hostname == address.host
