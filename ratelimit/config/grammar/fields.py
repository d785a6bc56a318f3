"""The small grammars inside the values of a policy file: durations, the store's URL, time zones, attributes.

Each function takes a value as TOML gives it and returns what it stands for. ValueError says what is wrong and what is
allowed; where the value is, the caller knows.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Any

from ratelimit.checks import durations
from ratelimit.checks import values as checks
from ratelimit.checks.durations import duration
from ratelimit.ground.words import listed, shown
from ratelimit.identity import OF_NOTHING, IdentifyByApiKey
from ratelimit.identity.address import ClientAddress
from ratelimit.identity.networks import trusted_network
from ratelimit.model import FOREVER
from ratelimit.operations import Rule
from ratelimit.policy import OnExcess, OnFailure
from ratelimit.stores import SCHEMES, problem_of, split_url
from ratelimit.styles.jitter import MOST as JITTER

STORES = tuple(f"{scheme}://" for scheme in SCHEMES)

PART = {"type": "string", "pattern": f"^{checks.PART}$"}

RESERVED = (*checks.PER, "tier")


def wait(value: Any) -> int:
    """A duration that a denied request may be held for."""
    return durations.wait_ms(duration(value), shown(value))


def jitter(value: Any) -> float:
    """`3%`: 0.03, the most"""
    match = re.fullmatch("([0-9]{1,3}(?:[.][0-9]{1,4})?) *%", value) if isinstance(value, str) else None
    if match is None or float(match[1]) > 100 * JITTER:
        raise ValueError(f'{shown(value)} is not a part of a wait; write a percentage from 0 to 3, in quotes: "3%"')
    return float(match[1]) / 100


def store_url(value: Any) -> str:
    """`redis://user:password@host:6379/0`. No message shows more of it than the scheme: it may hold a password."""
    scheme = split_url(value).scheme if isinstance(value, str) else ""
    if not scheme:
        raise ValueError(f"is not a URL; it starts with one of {listed(STORES)}")
    if scheme not in SCHEMES:
        raise ValueError(f"{shown(scheme)} is not a kind of store; use one of {listed(STORES)}")
    if problem := problem_of(value):
        raise ValueError(problem)
    return str(value)


def on_failure(value: Any) -> OnFailure:
    known: OnFailure = checks.on_failure(value)  # type: ignore[assignment] # one of them
    return known


def on_excess(value: Any) -> OnExcess:
    known: OnExcess = checks.on_excess(value)  # type: ignore[assignment] # one of them
    return known


def attribute(value: Any) -> str | int:
    if isinstance(value, int) and abs(value) > FOREVER:
        raise ValueError(f"{shown(value)} is out of range; a whole number is from -{FOREVER} to {FOREVER}")
    if isinstance(value, int | str) and not isinstance(value, bool):
        return checks.not_blank(value) if isinstance(value, str) else value
    raise ValueError(f"{shown(value)} is not a value of an attribute; write a whole number or a text in quotes")


def attribute_name(value: str) -> str:
    if not (value.isascii() and value.isidentifier()):
        raise ValueError("can't stand in a formula; write letters, digits and _, no digit first")
    if value in RESERVED:
        raise ValueError(f"{shown(value)} is not free for an attribute: {listed(RESERVED)} mean what they always mean")
    return value


def sha256(value: str) -> str:
    if value.lower() in OF_NOTHING:
        raise ValueError("is the SHA-256 of an empty text; hash the API key itself, without a line's end")
    return value.lower()


def api_key_source(value: str) -> str:
    try:
        IdentifyByApiKey(keys={}, address=lambda _: "", sources=(value,))
    except ValueError:  # its message shows the value, which here could be an API key
        known = False
    else:
        known = True
    if not known:
        raise ValueError(
            'is not a place for an API key; write "bearer", "basic" or "header:NAME", as "header:X-API-Key"'
        )
    return value


def trusted_proxy(value: str) -> str:
    trusted_network(value)
    return value


def rule(value: str) -> str:
    Rule.parse(value, "any")
    return value


def client_ip(text: str, ipv6_prefix: int) -> str:
    """An address as callers are counted by it: an IPv6 one as its network. A peer that has none goes by its name."""
    try:
        if "/" not in text:
            return ClientAddress(ipv6_prefix=ipv6_prefix)({"client": (str(ip_address(text)), 0), "headers": ()})
        network = ip_network(text)
        if network.version == 6 and network.prefixlen == ipv6_prefix:
            return ClientAddress(ipv6_prefix=ipv6_prefix)({"client": (str(network.network_address), 0), "headers": ()})
    except ValueError:
        if not re.search("[.:/]", text):
            return text
    counted = f"a network of {ipv6_prefix} bits as [identity] ipv6_prefix has it"
    raise ValueError(f"{shown(text)} matches nobody; write an IPv4 address, or an IPv6 address or {counted}")
