"""A first policy file: what `ratelimit init` writes, with a word on everything that comes next."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ratelimit.config.build import STYLES
from ratelimit.ground.words import listed

Who = Literal["keys", "app", "address"]  # who says who calls: the file's keys, the app, or nobody but the address

_BARE = re.compile(r"[A-Za-z0-9_-]+")  # a TOML key that needs no quotes

_TOP = """\
#:schema ./ratelimit.schema.json
# Who may call this API how often. `ratelimit check {file}` tells what is wrong or odd in this file.
# `ratelimit schema > ratelimit.schema.json` is for your editor: it completes and checks what you write here.

style = {style}  # how a 429 is told: {styles}

[store]
# url = "redis://127.0.0.1:6379/0"  # one count for all processes; without it each counts for itself, in memory
# prefix = "my-api"                 # so that several APIs on one Redis do not count together
on_failure = "allow"                # while the store is out of reach: allow, deny, or local (this process counts)

[identity]
# trusted_proxies = ["10.0.0.0/8"]  # your load balancers: whose X-Forwarded-For says the address of the client
"""
_DEFAULT = "default_tier = {tier}  # of a caller whom your app knows, and of whom it says no tier\n"
_OPERATIONS = """
[operations]  # by method and path, the first rule that matches wins; what matches none goes by its shape:
# a GET is detail_read or search, a POST is create, PUT, PATCH and DELETE are write
# exempt = ["GET /health", "* /docs/**"]
# export = ["POST /reports/**"]     # a name of your own: limits can be for it alone, operations = ["export"]
"""
_ANONYMOUS = """
[tiers.anonymous]  # {who}
limits = [
  {{ name = "address", rate = {rate}, per = "ip" }},  # in any window of that length, never more
]
"""
_TIER = """
[tiers.{tier}]
limits = [
  {{ name = "requests", rate = {rate} }},
  # {{ name = "monthly", quota = "50000/month" }},
  # {{ name = "at once", concurrency = 10 }},
]
"""
_KEYS = """
# API keys that you hand out, by their hash alone. This asks for a key, and prints what to write:
#   python -c "import getpass, ratelimit; print(ratelimit.hash_api_key(getpass.getpass('API key: ')))"
#
# [[keys]]
# sha256 = "…"
# tier = {tier}
# organization = "acme"  # what belongs together is counted together
"""
_APP = """
# Your app says who calls:
#
#   from ratelimit import Identity, RateLimitMiddleware
#
#   def identify(scope):  # sync or async; None for who is not known, who is anonymous then
#       return Identity(organization="acme", tier={tier})
#
#   app.add_middleware(RateLimitMiddleware, policy="{file}", identify=identify)
"""


@dataclass(frozen=True, slots=True)
class Choices:
    """`tiers` are rates by name, of those who are known, `{"basic": "100/minute"}`; `anonymous` is that of the others,
    for each address."""

    style: str
    who: Who
    anonymous: str
    tiers: Mapping[str, str]


def first_policy(chosen: Choices, file: str) -> str:
    """A file with these choices. Whether it is a policy is for the loader to say."""
    known = {} if chosen.who == "address" else chosen.tiers
    first = json.dumps(next(iter(known), ""))
    named = file if file.isprintable() else "ratelimit.toml"
    text = _TOP.format(file=named, style=json.dumps(chosen.style), styles=listed(STYLES))
    if known and chosen.who == "app":
        text += _DEFAULT.format(tier=first)
    who = "everybody, by address" if not known else "callers who are not known"
    text += _OPERATIONS + _ANONYMOUS.format(who=who, rate=json.dumps(chosen.anonymous))
    for tier, rate in known.items():
        text += _TIER.format(tier=tier if _BARE.fullmatch(tier) else json.dumps(tier), rate=json.dumps(rate))
    if known:
        text += (_KEYS if chosen.who == "keys" else _APP).format(tier=first, file=named)
    return text
