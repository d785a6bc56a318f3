"""A caller does not choose whom it is counted as, and can't make the limiter work or remember without bound."""

from __future__ import annotations

import base64
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest

from ratelimit import Identity, RateLimitMiddleware
from ratelimit.ground.memo import SIZE
from ratelimit.identity.address import CACHED
from ratelimit.identity.api_keys import _anonymous
from ratelimit.model import Charge, Decision, Scope
from tests.acceptance import ANA, ask, limited, plain, policy, run, scope_of

TRUST = '[identity]\ntrusted_proxies = ["10.0.0.0/8"]\nforwarded = "{}"\n'
CALLER, PROXY, XFF, FWD = "192.0.2.7", "10.0.0.1", b"x-forwarded-for", b"forwarded"
AUTH, BEARER = b"authorization", b"Bearer " + ANA.encode()
BASIC = b"Basic " + base64.b64encode(ANA.encode() + b":")

LARGE = b"x" * 60_000

HOSTILE: list[tuple[str, str | None, list[tuple[bytes, bytes]], str]] = [
    # the header of who is no proxy
    ("another's address", CALLER, [(XFF, b"203.0.113.9")], "ip=192.0.2.7"),
    ("another's address, mapped", "::ffff:192.0.2.7", [(XFF, b"203.0.113.9")], "ip=192.0.2.7"),
    ("a proxy's address", CALLER, [(XFF, b"10.0.0.1"), (FWD, b"for=10.0.0.1")], "ip=192.0.2.7"),
    ("other names", CALLER, [(b"x-real-ip", b"1.1.1.1"), (b"x-forwarded-for ", b"1.1.1.1")], "ip=192.0.2.7"),
    # through a proxy that appends
    ("a claim left of the proxy's", PROXY, [(XFF, b"203.0.113.9, 192.0.2.7")], "ip=192.0.2.7"),
    ("a claim in a line above", PROXY, [(XFF, b"203.0.113.9"), (XFF, b"192.0.2.7")], "ip=192.0.2.7"),
    ("30,000 claims", PROXY, [(XFF, b"1.1.1.1," * 30_000 + b"192.0.2.7")], "ip=192.0.2.7"),
    ("30,000 lines", PROXY, [(XFF, b"1.1.1.1")] * 30_000 + [(XFF, b"192.0.2.7")], "ip=192.0.2.7"),
    ("60 kB of nothing", PROXY, [(XFF, b" ,\t" * 20_000 + b"192.0.2.7")], "ip=192.0.2.7"),
    ("30,000 proxies", PROXY, [(XFF, b"192.0.2.7" + b",10.0.0.2" * 30_000)], "ip=10.0.0.2"),
    ("bytes that are no text", PROXY, [(XFF, b"\xff\xfe\x00\x1b[2J, 192.0.2.7")], "ip=192.0.2.7"),
    ("a hop that is no text", PROXY, [(XFF, b"192.0.2.7, \xff")], "ip=10.0.0.1"),
    ("the header that the proxy never writes", PROXY, [(FWD, b"for=203.0.113.9"), (XFF, b"192.0.2.7")], "ip=192.0.2.7"),
    ("ports and zones", PROXY, [(XFF, b"[fe80::1%25eth0]:80, 192.0.2.7:4711")], "ip=192.0.2.7"),
    ("zones are not networks", PROXY, [(XFF, b"2001:db8:1:2::1%" + b"z" * 99)], "ip=2001:db8:1:2::/64"),
    # IPv4 in IPv6, and IPv6 networks
    ("mapped", PROXY, [(XFF, b"::ffff:192.0.2.7")], "ip=192.0.2.7"),
    ("mapped, in other digits", "0:0:0:0:0:FFFF:C000:0207", [], "ip=192.0.2.7"),
    ("translated", "64:ff9b::192.0.2.7", [], "ip=192.0.2.7"),
    ("translated from a proxy's address", "64:ff9b::10.0.0.1", [(XFF, b"203.0.113.9")], "ip=10.0.0.1"),
    ("6to4, one of 65,536 networks", "2002:c000:0207:dead::1", [], "ip=192.0.2.7"),
    ("Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdf8", [], "ip=192.0.2.7"),
    ("an address of the network", "2001:db8:1:2:dead:beef:0:1", [], "ip=2001:db8:1:2::/64"),
    ("another of it", "2001:db8:1:2:ffff:ffff:ffff:ffff", [], "ip=2001:db8:1:2::/64"),
    # no address at all
    ("no peer", None, [(XFF, b"203.0.113.9")], "ip=unix"),
    ("a name", "testclient", [(XFF, b"203.0.113.9")], "ip=testclient"),
    ("a name that could be a key", "a}:b=%\n", [], "ip=a}:b=%\n"),
    # Authorization
    ("twice, the second is known", CALLER, [(AUTH, b"Bearer x"), (AUTH, BEARER)], "user=ana"),
    ("twice, the first is known", CALLER, [(AUTH, BASIC), (AUTH, b"Bearer x")], "user=ana"),
    ("1,000 times", CALLER, [(AUTH, b"Bearer x")] * 1_000 + [(AUTH, BEARER)], "user=ana"),
    ("60 kB before it", CALLER, [(AUTH, b"Bearer" + b" " * 60_000 + ANA.encode())], "user=ana"),
    ("joined by a proxy", CALLER, [(AUTH, b"Bearer x, " + BEARER)], "ip=192.0.2.7"),
    ("bytes that are no text", CALLER, [(AUTH, b"Bearer \xff\x00\r\n" + ANA.encode())], "ip=192.0.2.7"),
    ("no base64", CALLER, [(AUTH, b"Basic " + b"=" * 60_000)], "ip=192.0.2.7"),
    ("60 kB of it", CALLER, [(AUTH, b"Bearer " + LARGE), (b"x-api-key", LARGE)], "ip=192.0.2.7"),
]  # fmt: skip
OBFUSCATED: list[tuple[str, bytes, str]] = [
    ("unknown", b"for=192.0.2.7, for=unknown", "ip=10.0.0.1"),
    ("hidden", b"for=192.0.2.7, for=_hidden, for=10.0.0.2", "ip=10.0.0.2"),
    ("an open quote", b'for="203.0.113.9, for=192.0.2.7', "ip=192.0.2.7"),
    ("a quoted claim", b'for="203.0.113.9\\", for=1.1.1.1", for="192.0.2.7:80"', "ip=192.0.2.7"),
    ("two in one element", b"for=203.0.113.9;for=192.0.2.7", "ip=10.0.0.1"),
    ("16 kB of spaces", b"for=192.0.2.7, for=10.0.0.2;" + b" " * 16_000 + b'"x"', "ip=10.0.0.1"),
    ("30,000 quotes", b'"' * 30_000 + b",for=192.0.2.7", "ip=192.0.2.7"),
    ("30,000 pairs", b"for=192.0.2.7;" + b"a=b;" * 30_000 + b"proto=http", "ip=10.0.0.1"),
]


def counted_as(forwarded: str, peer: str | None, headers: list[tuple[bytes, bytes]]) -> str:
    """Whom a request of that peer is counted as, by the real middleware."""
    scope = scope_of(api_key=None)
    scope["client"] = None if peer is None else (peer, 50_000)
    scope["headers"] += headers

    async def test() -> None:
        start, _ = await ask(limited(plain, more=TRUST.format(forwarded)), scope=scope)
        assert start["status"] == 200

    run(test())
    (key,) = {state.charge.key.partition("}")[0] for state in scope["ratelimit"].states}
    return unquote(key.removeprefix("{"))


@pytest.mark.parametrize(("peer", "headers", "counted"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_whom_a_hostile_request_is_counted_as(
    peer: str | None, headers: list[tuple[bytes, bytes]], counted: str
) -> None:
    """Whatever it sends, a caller is counted by the API key that it has, else by the address that it really has."""
    assert counted_as("x-forwarded-for", peer, headers) == counted


@pytest.mark.parametrize(("line", "counted"), [row[1:] for row in OBFUSCATED], ids=[row[0] for row in OBFUSCATED])
def test_whom_an_obfuscated_hop_is_counted_as(line: bytes, counted: str) -> None:
    """What a trusted proxy does not name is counted as the last hop that is named: never as what stands left of it."""
    assert counted_as("forwarded", PROXY, [(FWD, line)]) == counted


def test_rotating_addresses_of_a_network() -> None:
    """Whoever owns a network has one allowance, whatever addresses of it it uses: a /64, or with ipv6_prefix a /48."""

    async def admitted(more: str, address: Callable[[int], str]) -> int:
        app, passed = limited(plain, more=more), 0
        for n in range(50):
            start, *_ = await ask(app, scope=scope_of(api_key=None) | {"client": (address(n), 1)})
            passed += start["status"] == 200
        return passed

    async def test() -> None:
        assert await admitted("", lambda n: f"2001:db8:1:2:{n:x}::{n:x}") == 2  # max of the anonymous tier
        assert await admitted("", lambda n: f"2001:db8:1:{n:x}::1") == 50  # a /48 is 65,536 networks
        assert await admitted("[identity]\nipv6_prefix = 48", lambda n: f"2001:db8:1:{n:x}::1") == 2
        assert await admitted("", lambda n: f"2002:c000:207:{n:x}::1") == 2  # 6to4: one IPv4 address
        assert await admitted("", lambda n: f"64:ff9b::c000:{n:x}") == 50  # translated: each its own

    run(test())


@pytest.mark.parametrize("root_path", ["", "/api", "/" * 9_000, "\n"])
@pytest.mark.parametrize("method", ["GET", "get", "", "\0", "M" * 60_000])
@pytest.mark.parametrize(
    "path", ["/a" * 30_000, "/" * 60_000, "/" + "7" * 60_000, "/v" + "1" * 60_000 + "x", "/%0A\n\x00\ufffd", "", "\n"]
)
def test_paths_and_methods_of_any_text(path: str, method: str, root_path: str) -> None:
    """A path of 30,000 segments, a segment of 60 kB, a method that is none: each is some operation and is limited."""

    async def test() -> None:
        rules = '[operations]\nsearch = ["* /a/**/b/**/c", "GET /{x}/{y}/{z}"]'
        scope = scope_of(path, method) | {"root_path": root_path}
        start, *_ = await ask(limited(plain, more=rules), scope=scope)
        assert start["status"] == 200
        assert scope["ratelimit"].states

    run(test())


class Allows:
    """A store that keeps nothing, so that what is kept is the limiter's."""

    async def acquire(self, charges: tuple[Charge, ...]) -> Decision:
        return Decision(allowed=True, now_ms=0)


Make = Callable[[int], Scope]


def with_token(n: int) -> Scope:
    return scope_of(api_key=f"sk_made_up_{n:032x}")


def from_address(n: int) -> Scope:
    return scope_of(api_key=None) | {"client": (PROXY, 1), "headers": [(XFF, b"2001:db8:%x:%x::1" % divmod(n, 65_536))]}


def with_path(n: int) -> Scope:
    return scope_of(f"/items/{n}/x{n}", api_key=None)


@pytest.mark.repeated
@pytest.mark.parametrize("make", [with_token, from_address, with_path])
def test_a_flood_leaves_nothing(make: Make) -> None:
    """API keys, addresses or paths that never came before, thousands of them: what is remembered does not grow."""
    full, more = 2 * SIZE + 100, SIZE  # a whole generation more, so that as many are remembered as before
    app = RateLimitMiddleware(plain, policy(more=TRUST.format("x-forwarded-for")), store=Allows())  # type: ignore[arg-type]
    limiter: Any = app.policy

    async def test() -> None:
        for n in range(full):  # all that is remembered is full now
            await ask(app, scope=make(n))
        before = sys.getallocatedblocks()
        for n in range(full, full + more):
            await ask(app, scope=make(n))
        assert sys.getallocatedblocks() - before < more / 8  # one object for each request would be `more`
        assert _anonymous.cache_info().currsize <= 4096
        assert limiter.address._look.cache_info().currsize <= CACHED
        assert len(limiter._recent) <= 2 * SIZE
        assert len(limiter._by_object) <= 2 * SIZE
        assert len(limiter.identify._known) == 2

    run(test())


@pytest.mark.repeated
@pytest.mark.parametrize("who", ["peer", "user", "operation"])
def test_long_names_are_not_remembered(who: str) -> None:
    """Peers, users or operations of 16 kB each that never came before: 600 of them would be 10 MB."""
    rest: dict[str, Any] = {}
    if who == "user":
        rest["identify"] = lambda scope: Identity(user=scope["client"][0], tier="basic")
    if who == "operation":
        rest["classify"] = lambda scope: scope["client"][0]
    app = RateLimitMiddleware(plain, policy(), store=Allows(), **rest)  # type: ignore[arg-type]

    async def test() -> None:
        for n in range(600):
            await ask(app, scope=scope_of(api_key=None) | {"client": (f"{n:016}" * 1_000, 1)})

    tracemalloc.start()
    try:
        run(test())
        assert tracemalloc.get_traced_memory()[0] < 3_000_000
    finally:
        tracemalloc.stop()


def test_long_names_are_different_callers() -> None:
    """A peer whose name is longer than any address is counted by a hash of all of it."""
    one, other = ("y" * 9_000 + end for end in "ab")
    assert counted_as("forwarded", one, []) != counted_as("forwarded", other, [])
    assert len(counted_as("forwarded", one, [])) < 100
