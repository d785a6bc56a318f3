"""Who is calling, by what a line of a log says, under the rules of a policy."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimit import Identity, hash_api_key, parse_policy
from ratelimit.policy.keys import escaped
from ratelimit.simulate.deciding.callers import Identities, called
from ratelimit.simulate.logs.own import mapping_of

TIERS = "".join(f"[tiers.{name}]\nlimits = []\n" for name in ("anonymous", "basic", "gold"))
KEY, OTHER = hash_api_key("u0"), hash_api_key("u1")
KEYS = f"""
[[keys]]
sha256 = "{KEY}"
tier = "gold"
organization = "acme"
attributes = {{ registers = 3 }}
[[keys]]
sha256 = "{OTHER}"
tier = "basic"
organization = "split"
[[keys]]
sha256 = "{hash_api_key("u2")}"
tier = "gold"
organization = "split"
[[keys]]
sha256 = "{hash_api_key("u3")}"
tier = "basic"
organization = "acme"
user = "ana"
"""
IP = "192.0.2.7"


def identity(who: Any, *maps: str, keys: str = "", extra: str = 'default_tier = "basic"') -> Identity:
    return Identities(parse_policy(f"[identity]\n{extra}\n{keys}\n{TIERS}"), mapping_of(maps))(who)


def test_an_address() -> None:
    """Who is known by no more is anonymous, and counted by the address as the policy counts it."""
    assert identity(b"192.0.2.7") == Identity(ip=IP, tier="anonymous")
    assert identity(b"2001:db8:1:2:3::7").ip == "2001:db8:1:2::/64"
    assert identity(b"2001:db8:1:2:3::7", extra="ipv6_prefix = 48").ip == "2001:db8:1::/48"
    assert identity(b"::ffff:192.0.2.7").ip == IP
    assert identity(b"-").ip == "unix"
    assert identity(b"\xff").ip == "\\xff"


def test_a_user() -> None:
    """The user of the log is one, where the policy knows no API keys; `-` is nobody."""
    assert identity((b"192.0.2.7", b"ana")) == Identity(user="ana", ip=IP, tier="basic")
    assert identity((b"192.0.2.7", b"ana", b"-"), "organization=$org") == Identity(user="ana", ip=IP, tier="basic")


def test_a_user_that_is_an_api_key() -> None:
    """Of Basic it may be the API key. Where the policy reads it there it is known as to the middleware, or as unknown;
    it is in no name."""
    known = identity((b"192.0.2.7", b"u0"), keys=KEYS)
    assert known == Identity("acme", None, KEY, None, IP, "gold", {"registers": 3})
    unknown = identity((b"192.0.2.7", b"sk_live_secret"), keys=KEYS)
    assert unknown == Identity(ip=IP, tier="anonymous")
    elsewhere = 'api_key = ["bearer"]\ndefault_tier = "basic"'
    assert identity((b"192.0.2.7", b"ana"), keys=KEYS, extra=elsewhere).user == "ana"


def test_mapped_fields() -> None:
    """They come before what the format has; attributes are numbers where they are written as numbers."""
    maps = ("organization=$org", "user=$user", "ip=$client", "registers=$n", "shop=$shop")
    who = (b"10.0.0.1", b"ana", "acme", "bo", "192.0.2.9", "12", b"7a")
    assert identity(who, *maps) == Identity(
        "acme", "bo", None, None, "192.0.2.9", "basic", {"registers": 12, "shop": "7a"}
    )
    assert identity((b"", b"", True, 7), "beta=$b", "tier=$t").attributes == {"beta": True}
    assert identity((b"10.0.0.1", b""), "tier=gold", "kind=5") == Identity(
        ip="10.0.0.1", tier="gold", attributes={"kind": 5}
    )


def test_a_mapped_api_key() -> None:
    """An API key, or its hash, is the caller of the policy that it stands for; one that is not known is anonymous."""
    for said in ("u0", KEY, KEY.upper()):
        assert identity((b"192.0.2.7", b"", said), "api_key=$k", keys=KEYS).organization == "acme"
    assert identity((b"192.0.2.7", b"", "sk"), "api_key=$k", keys=KEYS) == Identity(ip=IP, tier="anonymous")


@pytest.mark.parametrize(
    ("names", "tier", "attributes"),
    [
        ({"organization": "acme", "user": "ana"}, "basic", {}),
        ({"organization": "split"}, "basic", {}),  # two tiers: the default one
        ({"organization": "nobody"}, "basic", {}),
        ({"user": "ana"}, "basic", {}),
    ],
)
def test_the_tier_of_the_same_caller(names: dict[str, str], tier: str, attributes: dict[str, int]) -> None:
    """Who names no tier has that of the policy's keys with the same names, if it is one, with its attributes."""
    found = identity((b"", b"", *names.values()), *[f"{kind}=$x" for kind in names], keys=KEYS)
    assert (found.tier, found.attributes) == (tier, attributes)


def test_an_organization_of_one_tier() -> None:
    """All keys of it have the same tier and attributes: so has a line that names it."""
    keys = KEYS.partition("[[keys]]\nsha256")[0] + "[[keys]]\nsha256" + KEYS.split("[[keys]]\nsha256")[1]
    found = identity((b"", b"", "acme"), "organization=$x", keys=keys)
    assert (found.tier, found.attributes) == ("gold", {"registers": 3})


def test_no_tier_at_all() -> None:
    """Where the policy has no default tier they count as anonymous, and that is told."""
    identities = Identities(parse_policy(TIERS), mapping_of(["organization=$org"]))
    assert identities((b"", b"", "acme")).tier == "anonymous"
    assert identities.facts() == {"untiered": 1, "mapped organization": 1}


def test_what_no_line_has() -> None:
    """How many callers had each field that is mapped: of one that is misspelt it is told that nobody had it."""
    identities = Identities(parse_policy(TIERS), mapping_of(["organization=$org", "user=$usr", "tier=basic"]))
    for who in ((b"", b"", "acme", None), (b"", b"", "other", "-")):
        identities(who)
    assert identities.facts() == {"untiered": 0, "mapped organization": 2, "mapped user": 0}


def test_recorded() -> None:
    """A log of our own says who was counted; an API key is known by what stands there, and shown as it stands there."""
    shown = escaped("api_key", KEY)
    known = identity((("api_key", shown), ("ip", IP), ("tier", "gold"), ("registers", 3)), keys=KEYS)
    assert known == Identity(api_key=KEY, ip=IP, tier="gold", attributes={"registers": 3})
    unknown = identity((("api_key", "#12"), ("tier", "gold")), keys=KEYS)
    assert (called(unknown), called(known)) == ("api_key=#12", f"api_key={shown}")
    assert called(Identity(organization="acme", api_key="#12")) == "organization=acme"
    assert identity((("user", "ana"),)) == Identity(user="ana", tier="basic")
    assert identity((("application", "till"),)) == Identity(application="till", ip="unix", tier="anonymous")
    assert identity((b"", b"", "till"), "application=$a") == Identity(application="till", ip="unix", tier="basic")
    assert identity((("shop", 7),)) == Identity(ip="unix", tier="anonymous", attributes={"shop": 7})


def test_values_of_other_types() -> None:
    """Whatever a log has, it is a name or an attribute, or nothing: no line of it is an error."""
    maps = ("organization=$a", "user=$b", "shop=$c", "flag=$d", "api_key=$e")
    who = (b"", b"", True, 2**70, 10**4_000, False, " ")
    found = identity(who, *maps, keys=KEYS)
    assert (found.organization, found.user, found.attributes) == (
        "True",
        str(2**70),
        {"shop": "1" + 4_000 * "0", "flag": False},
    )
    recorded = identity((("organization", True), ("user", 7), ("shop", 10**4_000)))
    assert (recorded.organization, recorded.user) == ("True", "7")
