"""The config parser: of any text a Policy or a PolicyError; and a Policy can be used, whoever calls."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ratelimit import Policy, PolicyError, hash_api_key, parse_policy
from ratelimit.model import Identity
from ratelimit.stores.memory import MemoryStore
from tests.fuzz import edited, fuzzed, grows_linearly

pytestmark = pytest.mark.repeated

HUGE = "0x" + "F" * 5_000
VALUES = st.sampled_from(
    [
        *(
            '"100/minute"',
            '"20/10 seconds"',
            '"(300 * registers + 50)/5 minutes"',
            '"50000/month"',
            '"9/day"',
            "10",
            '"2 * seats"',
        ),
        *(
            '"60s"',
            '"100ms"',
            '"UTC"',
            '"Europe/Berlin"',
            '"ip"',
            '"api_key"',
            '["organization", "registers"]',
            '"shadow"',
        ),
        *(
            "true",
            "0",
            "-1",
            "1.5",
            "nan",
            "1e400",
            HUGE,
            "-" + HUGE,
            '"0/minute"',
            '""',
            '"\\u0000"',
            '"\\n"',
            '"' + "x" * 300 + '"',
        ),
        *(
            "2026-12-31T00:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "2026-12-31",
            "07:32:00",
            "[]",
            "{}",
        ),
        *(
            "{ search = 5 }",
            '["search"]',
            "[[[[1]]]]",
            '"redis://:s3cret@h:1/x"',
            '"10.0.0.0/8"',
            '["10.0.0.0/8"]',
            '["unix", "*"]',
        ),
        *(
            '"basic"',
            '"anonymous"',
            "[1]",
            "{ a = { b = { c = 1 } } }",
            f'"{hash_api_key("x")}"',
            '"' + "9" * 1_500 + '/minute"',
        ),
    ]
)
KEYS = [
    "name",
    "rate",
    "quota",
    "concurrency",
    "per",
    "operations",
    "cost",
    "mode",
    "from",
    "precision",
    "timezone",
    "anchor_day",
    "lease",
]
KEYS += ["reserve", "hold", "nothing"]
LIMITS = st.fixed_dictionaries(
    {"name": st.sampled_from(['"a"', '"b"', '"in flight"', '""', "5"])},
    optional=dict.fromkeys(KEYS[1:], VALUES),
)
GOOD_LIMITS = st.sampled_from(
    [
        {"name": '"a"', "rate": '"9/minute"', "per": '["organization", "registers", "ip"]', "cost": "{ search = 5 }"},
        {"name": '"b"', "quota": '"(9 * registers)/month"', "timezone": '"Europe/Berlin"', "anchor_day": "31"},
        {"name": '"c"', "concurrency": '"2 * seats"', "operations": '["search", "own"]'},
        {
            "name": '"d"',
            "rate": '"5/10 seconds"',
            "mode": '"shadow"',
            "from": "2026-12-31T00:00:00Z",
            "reserve": "true",
        },
    ]
)
KEY = st.fixed_dictionaries(
    {"sha256": st.sampled_from([f'"{hash_api_key(name)}"' for name in "xyz"])},
    optional=dict.fromkeys(("name", "tier", "organization", "user", "application", "attributes"), VALUES),
)
OVERRIDE = st.fixed_dictionaries(
    {"limits": st.sampled_from(['{ a = "5000/minute" }', "{ a = 1 }", "{ c = 7 }", "{}", '{ x = "1/day" }'])},
    optional=dict.fromkeys(("organization", "user", "ip", "tier", "attributes", "until", "api_key"), VALUES),
)


def table(fields: dict[str, str]) -> str:
    return "{ " + ", ".join(f"{key} = {value}" for key, value in fields.items()) + " }"


@st.composite
def files(draw: st.DrawFn) -> str:
    """A policy file in which most is as it should be."""
    good = st.lists(GOOD_LIMITS, min_size=1, max_size=3, unique_by=lambda limit: limit["name"])
    limits = st.lists(LIMITS, max_size=3) if draw(st.integers(0, 2)) == 0 else good
    text = draw(
        st.sampled_from(["", 'style = "lendworks"\n', 'style = { name = "ietf" }\n', f"style = {HUGE}\n", "x = 1\n"])
    )
    for name in ("anonymous", "basic"):
        text += f"[tiers.{name}]\nlimits = [ {', '.join(map(table, draw(limits)))} ]\n"
    odd = draw(st.integers(0, 3)) == 0
    for section, keys in (
        ("store", ["url", "prefix", "timeout", "on_failure"]),
        ("identity", ["api_key", "ipv6_prefix"]),
    ):
        some = draw(st.dictionaries(st.sampled_from(keys), VALUES, max_size=1)) if odd else {}
        text += f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in some.items())
    text += 'default_tier = "basic"\n'
    for name, tables in (("keys", KEY), ("overrides", OVERRIDE)):
        for fields in draw(st.lists(tables, max_size=2)) if odd else []:
            text += f"[[{name}]]\n" + "".join(f"{key} = {value}\n" for key, value in fields.items())
    return text


PIECES = [
    "\n",
    "=",
    '"',
    "'",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "#",
    ",",
    ".",
    "\0",
    "é",
    '"""',
    "0x",
    "a.b.c = 1\n",
    "[tiers.x]\n",
    " ",
    "\\",
    "-",
    "_",
]

IDENTITIES = st.builds(
    Identity,
    organization=st.sampled_from([None, "acme", "{a}\n%"]),
    user=st.sampled_from([None, "ana", "x" * 2_000, "\udc80"]),
    api_key=st.sampled_from([None, hash_api_key("x")]),
    application=st.sampled_from([None, "till"]),
    ip=st.sampled_from(["192.0.2.7", "2001:db8::/64", "unix"]),
    tier=st.sampled_from([None, "anonymous", "basic"]),
    attributes=st.dictionaries(
        st.sampled_from(["registers", "seats", "odd\n"]),
        st.one_of(st.integers(), st.text(max_size=5), st.just(True), st.just(2**10_000)),
        max_size=2,
    ),
)


def read(text: str) -> Policy | None:
    """The policy, or None for a text that is refused, with problems that can be read."""
    try:
        return parse_policy(text, "fuzz.toml")
    except PolicyError as error:
        problems = error.problems
    assert problems
    for problem in problems:
        assert problem.startswith("fuzz.toml: ")
        assert problem.isprintable()
        assert len(problem) < 5_000
        assert "s3cret" not in problem
    return None


@fuzzed
@given(files(), st.lists(st.tuples(IDENTITIES, st.sampled_from(["search", "own", "create"])), max_size=3))
def test_a_policy_or_its_problems(text: str, callers: list[tuple[Identity, str]]) -> None:
    """What is accepted decides for every caller that the policy has a tier for; the rest is refused with reasons."""
    policy = read(text)
    if policy is None:
        return
    store = MemoryStore()
    for identity, operation in callers:
        charges = policy.charges(identity, operation)
        assert policy.charges(identity, operation) == charges
        assert all(len(charge.key) < 1_000 and charge.key.isprintable() and charge.key.isascii() for charge in charges)
        decision = asyncio.run(store.acquire(charges))
        assert decision.allowed or decision.denying


@fuzzed
@given(edited(files(), PIECES, most=6))
@example("a." * 5_000 + "a = 1")  # a RecursionError
@example("a = " + "[" * 400 + "]" * 400)
@example("a = " + "{a=" * 200 + "1" + "}" * 200)
@example('tiers.anonymous.limits = [{ name = "a", concurrency = "\\u001b" }]')  # a control character in the message
@example('operations.x = ["\\u001b[2J"]')
@example(f"style = {HUGE}")  # a ValueError from str()
@example(f'[tiers.anonymous]\nlimits = [{{ name = "a", rate = "1/minute", precision = {HUGE} }}]')
@example(
    f'tiers.anonymous.limits = []\n[[keys]]\nsha256 = "{"0" * 64}"\ntier = "anonymous"\nattributes = {{ r = {HUGE} }}'
)
def test_any_text(text: str) -> None:
    """Whatever the text, nothing but a Policy or a PolicyError comes of it."""
    read(text)


@fuzzed
@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=9), lambda x: st.lists(x, max_size=3)),
    st.sampled_from(
        [
            "style",
            "store.url",
            "identity.api_key",
            "identity.trusted_proxies",
            "operations.x",
            "tiers.anonymous.limits",
            "keys",
            "overrides",
            "tiers",
        ]
    ),
)
def test_any_value_anywhere(value: Any, where: str) -> None:
    """Any value in the place of any other is a PolicyError that says where, or is right."""
    read(f"{where} = {json.dumps(value).replace('null', '{}')}")


LIMIT = '{ name = "%d", rate = "1/minute" }'


@pytest.mark.parametrize(
    "make",
    [
        lambda n: "[tiers.anonymous]\nlimits = [" + ",".join(LIMIT % i for i in range(n)) + "]",
        lambda n: "[tiers.anonymous]\nlimits = [" + ",".join('{ nme = "x" }' for i in range(n)) + "]",
        lambda n: "[tiers.anonymous]\nlimits = []\n" + '[[keys]]\nsha256 = "x"\n' * n,
        lambda n: (
            "[tiers.anonymous]\nlimits = []\n"
            + "".join(f'[[keys]]\nsha256 = "{i:064x}"\ntier = "x"\n' for i in range(n))
        ),
        lambda n: (
            "[tiers.anonymous]\nlimits = []\n[operations]\nx = [" + ",".join(f'"GET /a/{i}"' for i in range(n)) + "]"
        ),
        lambda n: "[tiers.anonymous]\nlimits = []\n" + '[[overrides]]\norganization = "x"\nlimits = { x = 1 }\n' * n,
        lambda n: "".join(f"a{i} = 1\n" for i in range(n)),
        lambda n: "# " + "x" * 100 * n,
        lambda n: 'style = "' + "'(\\\"" * 100 * n + '"',
    ],
    ids=["limits", "wrong limits", "wrong keys", "keys", "rules", "overrides", "unknown", "comment", "quotes"],
)
def test_time(make: Any) -> None:
    """A file of four times the length takes no more than linear work, whatever is wrong in it."""
    assert grows_linearly(read, make, 200)
