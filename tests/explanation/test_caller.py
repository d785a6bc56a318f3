"""Who a caller is taken for, by its key or by what is said of it; and no API key is ever repeated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ratelimit import hash_api_key
from ratelimit.explanation.caller import WrongCaller, by_key, by_pairs, refuse_keys
from tests.explanation import own_identify, policy

ACME = {"organization": "acme", "tier": "basic"}


def said(caller: Any) -> dict[str, Any]:
    return {name: value for name, value in caller.identity._asdict().items() if value}


def test_by_key() -> None:
    """A known key is its entry of the file, whatever white space is around it and however its hash is written."""
    for key, number, user, mode in ((b"one\n", 0, "ana", "test"), (b" two", 1, "ben", "live")):
        caller = by_key(policy(), key, ["ip=192.0.2.7"])
        assert said(caller) == {
            **ACME,
            "user": user,
            "api_key": hash_api_key(key.strip()),
            "ip": "192.0.2.7",
            "attributes": {"seats": 3, "mode": mode},
        }
        assert caller.why == (f"the API key is keys[{number}] of the file",)
        assert caller.placed
    assert not by_key(policy(), b"one").placed


def test_unknown_key() -> None:
    """One that the file does not have is anonymous, by its address."""
    caller = by_key(policy(), b"five")
    assert said(caller) == {"tier": "anonymous", "ip": "127.0.0.1"}
    assert caller.why[0].startswith("the API key is none of the 4 of the file")
    assert not caller.placed
    assert by_key(policy(), b"five", ["ip=192.0.2.9"]).identity.ip == "192.0.2.9"


@pytest.mark.parametrize(
    ("pairs", "identity", "why"),
    [
        (
            ["organization=acme"],
            {**ACME, "attributes": {"seats": 3}},
            ["organization = acme, as was said", "tier basic, seats = 3, as keys[0] and 1 more have it"],
        ),
        (
            ["organization=acme", "user=ana"],
            {**ACME, "user": "ana", "api_key": hash_api_key("one"), "attributes": {"seats": 3, "mode": "test"}},
            [
                "organization = acme, as was said",
                "user = ana, as was said",
                f"tier basic, api_key = {hash_api_key('one')[:8]}…, seats = 3, mode = test, as keys[0] has it",
            ],
        ),
        (
            [f"api_key={hash_api_key('two').upper()}", "seats=4"],
            {**ACME, "user": "ben", "api_key": hash_api_key("two"), "attributes": {"seats": 4, "mode": "live"}},
            None,
        ),
        (["organization=both", "tier=paid"], {"organization": "both", "tier": "paid"}, None),
        (
            ["user=new", "tier=paid", "ip=192.0.2.7"],
            {"user": "new", "tier": "paid", "ip": "192.0.2.7"},
            ["user = new, as was said", "tier paid, as was said"],
        ),
        (["ip=2001:db8::7"], {"ip": "2001:db8::/64", "tier": "anonymous"}, None),
        (["ip=2001:db8::/64"], {"ip": "2001:db8::/64", "tier": "anonymous"}, None),
        (["ip=192.0.2.7", "tier=paid"], {"ip": "192.0.2.7", "tier": "paid"}, ["known by its address alone"]),
        (
            ["user=u", "tier=paid", "a=true", "b=-7", 'c="8"', "d=x", 'e="', "f=false"],
            {
                "user": "u",
                "tier": "paid",
                "attributes": {"a": True, "b": -7, "c": "8", "d": "x", "e": '"', "f": False},
            },
            None,
        ),
    ],
)
def test_by_pairs(pairs: list[str], identity: dict[str, Any], why: list[str] | None) -> None:
    """What is said counts, and what is not said is taken from the keys that have all of it, where they agree."""
    caller = by_pairs(policy(), pairs)
    found = said(caller)
    assert {name: value for name, value in found.items() if name in identity or name != "api_key"} == identity
    if why is not None:
        assert list(caller.why) == why


def test_default_tier() -> None:
    """Who has no key in the file is of the default tier, if there is one."""
    with_default = policy('identity = { default_tier = "paid" }\n')
    caller = by_pairs(with_default, ["organization=new"])
    assert (caller.tier, caller.why[-1]) == ("paid", "tier paid, the default")


def test_tier_that_is_gone() -> None:
    """A tier that the policy does not have, as its own identify may give, counts as another; that is said."""
    made = policy()
    keys = {**made.identify.keys, hash_api_key("six"): own_identify(None)._replace(tier="gone")}  # type: ignore[attr-defined]
    caller = by_key(replace(made, identify=replace(made.identify, keys=keys)), b"six")  # type: ignore[type-var]
    assert caller.tier == "anonymous"
    assert caller.why[-1] == "the policy has no tier gone, so that anonymous counts"


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "nothing is said that a caller is counted by"),
        (["tier=basic"], "nothing is said that a caller is counted by"),
        (["seats=3"], "nothing is said that a caller is counted by"),
        (["application=shop", "tier=paid"], "nothing is said that a caller is counted by"),
        (["organization"], "--identity needs a name and a value"),
        (["=acme"], "--identity needs a name and a value"),
        (["organization= "], "--identity needs a name and a value"),
        (["user=a", "user=b"], "--identity has the same name twice"),
        (["user=a", "tier=basik"], 'the policy has no such tier; did you mean "basic"?'),
        (["organization=new"], "no API key of the file has that, and .* add tier=… with one of anonymous, basic, paid"),
        (["organization=both"], "its API keys are of the tiers paid, basic: add tier=… with one of them"),
        (["ip=here"], "ip=… is no IP address"),
        (["api_key=one"], "api_key=… is the SHA-256 of an API key, 64 hexadecimal digits"),
    ],
)
def test_wrong(pairs: list[str], message: str) -> None:
    """Where it can't be said who is meant, it is said what to write; and nothing of what was written."""
    with pytest.raises(WrongCaller, match=message) as error:
        by_pairs(policy(), pairs)
    assert "new" not in str(error.value)
    assert "=here" not in str(error.value)


def test_wrong_keys() -> None:
    """A key that is none, one beside names, and one for a policy that knows no keys."""
    with pytest.raises(WrongCaller, match="the API key is empty or blank"):
        by_key(policy(), b" \n")
    with pytest.raises(WrongCaller, match="only ip=… may stand beside --key"):
        by_key(policy(), b"one", ["user=ana"])
    own = replace(policy(), identify=own_identify)
    with pytest.raises(WrongCaller, match="an identify of its own, which knows no keys"):
        by_key(own, b"one")
    assert by_pairs(own, ["user=ana", "tier=paid"]).tier == "paid"
    refuse_keys(own, ["one"])


@pytest.mark.parametrize(
    "text",
    [
        "one",
        "organization=one",
        "two",
        "sk_live_51H",
        "SK-test-x",
        "user=ghp_abcdefgh",
        "Bearer x",
        "rk-0123456789abcdef",
        "xoxb-1",
    ],
)
def test_keys_are_refused(text: str) -> None:
    """What is an API key of the file, or looks like one, may not stand on the command line; it is not repeated."""
    with pytest.raises(WrongCaller, match="an API key is read from standard input") as error:
        refuse_keys(policy(), ["GET", text])
    assert text.rpartition("=")[2] not in str(error.value).replace("read from standard", "").split()


@pytest.mark.parametrize(
    "text",
    [
        "organization=acme",
        "skating",
        "organization=pk-logistics",
        "user=token-service",
        "user=550e8400-e29b-41d4-a716-446655440000",
        "/a/one",
    ],
)
def test_what_is_no_key(text: str) -> None:
    """Names, paths and identifiers are none."""
    refuse_keys(policy(), [text])
