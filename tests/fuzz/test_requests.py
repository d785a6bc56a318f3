"""Whole requests through the middleware: megabytes of hostile headers, counted, each answered, and in time."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Iterator
from random import Random
from time import process_time

import pytest

from ratelimit import RateLimitMiddleware, hash_api_key, parse_policy
from ratelimit.model import Scope
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import ask, plain, scope_of
from tests.fuzz import EXAMPLES

SEED = int(os.environ.get("RATELIMIT_FUZZ_SEED", "1"))
BYTES = 10_000_000 if EXAMPLES else 500_000  # for each header
SLOWER = 10  # times that a byte may take what adding it up in a loop takes; it takes about half of that

KEY = "sk_live_fuzz"
POLICY = """
[identity]
trusted_proxies = ["192.0.2.0/24", "2001:db8::/32", "unix"]
forwarded = "{}"
[operations]
search = ["GET /a/*/b/**", "* /**/x"]
[[keys]]
sha256 = "{}"
tier = "basic"
[tiers.anonymous]
limits = [ {{ name = "ip", rate = "60/minute" }}, {{ name = "till", rate = "9/day", per = ["ip", "user"] }} ]
[tiers.basic]
limits = [ {{ name = "requests", rate = "100/minute" }} ]
"""

NAMES = [b"x-forwarded-for", b"forwarded", b"authorization", b"x-api-key", b"origin", b"cookie", b"host", b""]
WORDS = [
    b"for=",
    b'for="',
    b'"',
    b"\\",
    b",",
    b", ",
    b";",
    b"[",
    b"]:80",
    b"%eth0",
    b":_x",
    b"192.0.2.7",
    b"203.0.113.9",
]
WORDS += [
    b"2001:db8::1",
    b"::ffff:192.0.2.1",
    b"64:ff9b::1.2.3.4",
    b"unknown",
    b"_hidden",
    b"Bearer ",
    b"Basic ",
    b" ",
    b"\t",
]
WORDS += [
    b"\0",
    b"\r\n",
    b"\x1b[2J",
    b"\xff\xfe",
    b"\xc3\xa9",
    b"=",
    b"c2tfbGl2ZV9mdXp6Og==",
    b"9" * 40,
    b"a" * 300,
    b"proto=https",
]
LENGTHS = [0, 10, 30, 100, 100, 300, 1_000, 1_000, 4_000, 16_000, 60_000]


def hostile(dice: Random) -> Scope:
    """A request of up to 60 kB in a header line, or in thousands of them."""
    scope = scope_of(method=dice.choice(["GET", "OPTIONS", "get", "", "\n", "M" * 9_000]), api_key=None)
    scope["path"] = "/".join(
        dice.choices(["", "a", "b", "x", "7", "%", "\n", "é", "\ufffd", "**"], k=dice.choice([1, 2, 5, 5, 9, 9_000]))
    )
    scope["root_path"] = dice.choice(["", "", "/a", "/" * 99, "\n"])
    scope["client"] = dice.choice(
        [None, ("192.0.2.7", 1), ("::ffff:192.0.2.7", 1), ("y" * 9_000, 1), (None, None), ("203.0.113.1", 0)]
    )
    for _ in range(dice.choice([1, 1, 3, 300])):
        length = dice.choice(LENGTHS)
        few = dice.choices(WORDS, k=dice.choice([1, 2, 4, 30]))
        line = b"".join(dice.choices(few, k=1 + length // 8))[:length]
        scope["headers"].append((dice.choice(NAMES), line))
        if sum(len(value) for _, value in scope["headers"]) > 60_000:
            break
    if dice.randrange(9) == 0:
        lines = [b"Bearer " + KEY.encode(), b"Basic " + base64.b64encode(KEY.encode() + b":x")]
        scope["headers"].insert(dice.randrange(1 + len(scope["headers"])), (b"authorization", dice.choice(lines)))
    return scope


def until(total: int, dice: Random) -> Iterator[tuple[Scope, bytes]]:
    """Requests with all that is in their headers and their path, as one text, until so many bytes were made."""
    while total > 0:
        scope = hostile(dice)
        text = b"".join(name + value for name, value in scope["headers"]) + scope["path"].encode()
        total -= len(text)
        yield scope, text


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
def test_megabytes_of_hostile_requests(header: str) -> None:
    """Each is answered with 200 or 429 and counted by a short name, is known by the API key alone; and a byte takes no
    more than a fixed multiple of what it takes to add it up."""
    app = RateLimitMiddleware(
        plain, parse_policy(POLICY.format(header, hash_api_key(KEY)), "fuzz.toml"), store=MemoryStore()
    )
    spent = reference = 0.0

    async def test() -> None:
        nonlocal spent, reference
        for scope, text in until(BYTES, Random(f"{SEED} {header}")):
            began = process_time()
            start, *_ = await ask(app, scope=scope)
            between = process_time()
            total = 0
            for byte in text:
                total += byte
            spent, reference = spent + between - began, reference + process_time() - between
            assert start["status"] in (200, 429), scope
            if "ratelimit.identity" in scope:
                identity = scope["ratelimit.identity"]
                assert len(identity.ip) <= 128
                sent = KEY.encode() in text or base64.b64encode(KEY.encode())[:-3] in text
                assert identity.anonymous or (sent and identity.api_key == hash_api_key(KEY))

    asyncio.run(test())
    assert spent <= SLOWER * reference, f"{spent:.3f} s for what is added up in {reference:.3f} s (seed {SEED})"
    print(f"{BYTES:,} bytes: {spent:.2f} s, added up in {reference:.2f} s")  # noqa: T201 - for `make fuzz`
