"""Credentials: a known API key is found in every form that is taken, and nothing else is ever known."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ratelimit.identity import IdentifyByApiKey, hash_api_key
from ratelimit.identity.address import ClientAddress
from ratelimit.model import Identity, Refused
from tests.fuzz import edited, fuzzed, grows_linearly

pytestmark = pytest.mark.repeated

KEYS = ACME, GLOBEX = "sk_live_acme", "sk_live_globex"
BY_HASH = {hash_api_key(api_key): api_key for api_key in KEYS}
IDENTIFY = IdentifyByApiKey(
    {digest: Identity(organization=api_key, tier="basic") for digest, api_key in BY_HASH.items()},
    address=ClientAddress(),
)
SPACES = st.sampled_from([b"", b" ", b"\t", b"  ", b" \t "])
NAMES = [b"x-api-key", b"x_api_key", b"x-api_key", b"X-API-Key", b"X_API-KEY", b"X-Api-Key"]
NONSENSE = [
    (b"authorization", b"Bearer unknown"),
    (b"authorization", b"Basic !"),
    (b"authorization", b""),
    (b"authorization", b"\xff\xfe"),
    (b"authorization", b"Digest username=sk_live_acme"),
    (b"x-api-key", b"x" * 3_000),
    (b"x-api_keys", ACME.encode()),
    (b"x api key", ACME.encode()),
    (b"cookie", ACME.encode()),
]
PIECES = [
    b" ",
    b"\t",
    b"=",
    b"==",
    b":",
    b",",
    b"\0",
    b"\xff",
    b"\xc2\xa0",
    b"Bearer ",
    b"Basic ",
    b"sk_",
    b"sk_live_acme",
    b"c2s=",
]


@st.composite
def presented(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A line with a known API key, in a form that is taken."""
    api_key = draw(st.sampled_from([ACME, GLOBEX])).encode()
    form = draw(st.sampled_from(["bearer", "basic", "header"]))
    if form == "header":
        return draw(st.sampled_from(NAMES)), draw(SPACES) + api_key + draw(SPACES)
    scheme = draw(st.sampled_from([form, form.title(), form.upper()])).encode()
    if form == "basic":
        api_key = base64.b64encode(api_key + draw(st.sampled_from([b"", b":", b":pass:word", b":\xff"])))
    return b"authorization", scheme + b" " + draw(SPACES) + api_key + draw(SPACES)


def scope(headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {"type": "http", "client": ("192.0.2.7", 1), "headers": headers}


@fuzzed
@given(presented(), st.lists(st.sampled_from(NONSENSE), max_size=4), st.data())
def test_a_known_key_is_found(
    line: tuple[bytes, bytes], others: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    """Among any other lines, before or behind them, in every form: the caller is known."""
    at = data.draw(st.integers(0, len(others)))
    assert IDENTIFY(scope([*others[:at], line, *others[at:]])).api_key in BY_HASH


@fuzzed
@given(st.lists(presented(), min_size=1, max_size=3), st.data())
@example([(b"authorization", b"Basic " + base64.b64encode(b"other:sk_live_acme"))], None)
@example([(b"authorization", hash_api_key(ACME).encode()), (b"x-api-key", hash_api_key(ACME).encode())], None)
def test_nobody_is_known_without_it(lines: list[tuple[bytes, bytes]], data: st.DataObject | None) -> None:
    """Whoever is known has sent the API key itself, as it is or in base64; everybody else is anonymous by address."""
    if data:
        lines = [(name, data.draw(edited(st.just(value), PIECES))) for name, value in lines]
    try:
        identity = IDENTIFY(scope(lines))
    except Refused:
        assert all(any(key.encode() in value or key.encode() in _decoded(value) for _, value in lines) for key in KEYS)
        return
    if identity.anonymous:
        assert identity == Identity(ip="192.0.2.7", tier="anonymous")
    else:
        api_key = BY_HASH[identity.api_key or ""].encode()
        assert any(api_key in value or api_key in _decoded(value) for _, value in lines)
        if not data:
            raise AssertionError("these examples are anonymous")


@fuzzed
@given(st.lists(presented(), min_size=2, max_size=4), st.lists(st.sampled_from(NONSENSE), max_size=3))
def test_two_callers_are_refused(lines: list[tuple[bytes, bytes]], others: list[tuple[bytes, bytes]]) -> None:
    """Keys of both callers, in whatever forms and places: refused; of one of them, that one, whatever the order."""
    there = {key for key in KEYS if any(key.encode() in value or key.encode() in _decoded(value) for _, value in lines)}
    for sent in ([*others, *lines], [*reversed(lines), *others]):
        if len(there) == len(KEYS):
            with pytest.raises(Refused):
                IDENTIFY(scope(sent))
        else:
            assert {IDENTIFY(scope(sent)).organization} == there


def _decoded(value: bytes) -> bytes:
    try:
        return binascii.a2b_base64(value.lstrip()[6:])
    except binascii.Error:
        return b""


@pytest.mark.parametrize("name", [b"authorization", b"x-api-key"])
@pytest.mark.parametrize("start", [b"", b"Bearer ", b"Basic "])
@pytest.mark.parametrize("unit", [b" ", b"\t", b"a", b"=", b"a=", b":", b"\xff", b"\xa0", b"Bearer ", b"YTo"])
def test_time(unit: bytes, start: bytes, name: bytes) -> None:
    """Four times the header, in one line or in many, takes no more than linear work."""
    assert grows_linearly(IDENTIFY, lambda n: scope([(name, start + unit * (n // len(unit)))]), 16_000)
    assert grows_linearly(IDENTIFY, lambda n: scope([(name, start + unit)] * (n // 10)), 16_000)
