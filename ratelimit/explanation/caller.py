"""Who a caller is taken for, and why: by an API key, or by what is said of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address

from ratelimit.ground.words import listed, one_of
from ratelimit.identity import IdentifyByApiKey, hash_api_key
from ratelimit.model import ANONYMOUS, IDENTITY_KINDS, Identity
from ratelimit.policy import Policy

NOWHERE = "127.0.0.1"  # an address for who has given none
# Of Stripe's kind, of GitHub, of Slack; or what stands in a header. An organization may be called pk-logistics.
_LIKE_A_KEY = re.compile(
    r"[spr]k[_-](?:(?:live|test|prod)[_-]|(?=[\w-]*\d)[\w-]{16,})|gh[opsu]_\w{8}|xox[a-z]-\w|bearer\s", re.IGNORECASE
)
_IN_A_TEXT = re.compile(rf"(?<![\w-])(?:{_LIKE_A_KEY.pattern})[^\s:;,\"']*", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_NOT_SHOWN = (
    "an API key is read from standard input, never from the command line, where others see it: give --key - and write"
    " it there; it is not repeated here"
)


class WrongCaller(ValueError):
    """It can't be said who is meant. No message shows an API key."""


@dataclass(frozen=True, slots=True)
class Caller:
    """`why` are sentences, each one step. `placed`: whether its address was given, where it matters."""

    identity: Identity
    tier: str  # that counts
    why: tuple[str, ...]
    placed: bool = True


def refuse_keys(policy: Policy | None, texts: Sequence[str]) -> None:
    """WrongCaller for a text of the command line that is an API key, or looks like one."""
    known = {digest.lower() for digest in _keys(policy)} if policy is not None else set()
    for text in texts:
        value = text.rpartition("=")[2]
        if any(_LIKE_A_KEY.match(one) or _digest(one) in known for one in (text, value)):
            raise WrongCaller(_NOT_SHOWN)


def keys_hidden(text: str) -> str:
    """What looks like an API key is left out: it may stand where a file or a limit should."""
    return _IN_A_TEXT.sub("…", text)


def by_key(policy: Policy, key: bytes, pairs: Sequence[str] = ()) -> Caller:
    """`key` as it would be presented, white space around it aside; of `pairs` only an `ip` is understood."""
    given = _given(pairs)
    if set(given) - {"ip"}:
        raise WrongCaller("an API key says who is calling: of --identity, only ip=… may stand beside --key")
    if not isinstance(policy.identify, IdentifyByApiKey):
        raise WrongCaller("this policy has an identify of its own, which knows no keys: name the caller by --identity")
    try:
        digest = hash_api_key(key.strip())
    except ValueError as error:
        raise WrongCaller(str(error)) from None
    return _by_digest(policy, digest, given.get("ip"))


def by_pairs(policy: Policy, pairs: Sequence[str]) -> Caller:
    """`organization=acme`, `tier=basic`, `ip=192.0.2.7`, an attribute `registers=3`; an `api_key` by its SHA-256.

    What is not said is taken from the API keys of the file that have all that is, where these agree. WrongCaller where
    they are of different tiers.
    """
    given = _given(pairs)
    digest = given.get("api_key")
    if digest is not None and not _SHA256.fullmatch(digest):
        raise WrongCaller(f"api_key=… is the SHA-256 of an API key, 64 hexadecimal digits. {_NOT_SHOWN}")
    if digest is not None:
        given["api_key"] = digest.lower()
    tier = given.pop("tier", None)
    if tier is not None and tier not in policy.tiers:
        raise WrongCaller(f"the policy has no such tier{one_of(tier, policy.tiers)}")
    address = _address(policy, given.pop("ip", None))
    names = {kind: value for kind, value in given.items() if kind in IDENTITY_KINDS}
    attributes = {name: _value(text) for name, text in given.items() if name not in IDENTITY_KINDS}
    why = [f"{kind} = {_short(kind, value)}, as was said" for kind, value in names.items()]
    if names:
        found, how = _from_keys(policy, names, tier)
        why += how
    else:
        found = Identity(tier=tier or ANONYMOUS)
        why.append("known by its address alone" if tier else "known by its address alone, and so anonymous")
    identity = found._replace(**names, ip=address, attributes={**found.attributes, **attributes})
    try:
        identity.root  # noqa: B018 - it raises where there is none
    except LookupError:
        what = "give --key -, or of --identity an organization, a user, an api_key or an ip"
        raise WrongCaller(f"nothing is said that a caller is counted by: {what}") from None
    return _caller(policy, identity, why, placed=address is not None)


def _by_digest(policy: Policy, digest: str, ip: str | None) -> Caller:
    address = _address(policy, ip)
    for number, (known, identity) in enumerate(_keys(policy).items()):
        if known.lower() == digest:
            made = identity._replace(api_key=digest, ip=address, tier=identity.tier or policy.default_tier)
            return _caller(policy, made, [f"the API key is keys[{number}] of the file"], placed=address is not None)
    count = len(_keys(policy))
    why = f"the API key is none of the {count} of the file, so that its caller is anonymous and counted by its address"
    identity = Identity(ip=address or NOWHERE, tier=ANONYMOUS)
    return _caller(policy, identity, [why], placed=address is not None)


def _caller(policy: Policy, identity: Identity, why: list[str], *, placed: bool) -> Caller:
    tier, _ = policy.wait_of(identity)
    if identity.tier is not None and identity.tier != tier:
        why.append(f"the policy has no tier {identity.tier}, so that {tier} counts")
    return Caller(identity, tier, tuple(why), placed)


def _from_keys(policy: Policy, names: Mapping[str, str], tier: str | None) -> tuple[Identity, list[str]]:
    """What the API keys say in common that have these names, and a sentence for it."""
    having = list(_having(policy, names, tier))
    if not having:
        counts = tier or policy.default_tier
        if counts is None:
            more = f"add tier=… with one of {listed(policy.tiers)}"
            raise WrongCaller(f"no API key of the file has that, and [identity] no default_tier: {more}")
        return Identity(tier=counts), [f"tier {counts}{', as was said' if tier else ', the default'}"]
    tiers = dict.fromkeys(identity.tier for _, identity in having)
    if len(tiers) > 1:
        raise WrongCaller(f"its API keys are of the tiers {listed(map(str, tiers))}: add tier=… with one of them")
    number, first = having[0]
    agreed = first._replace(
        **{kind: None for kind in IDENTITY_KINDS if any(getattr(i, kind) != getattr(first, kind) for _, i in having)},
        attributes={
            name: value
            for name, value in first.attributes.items()
            if all(identity.attributes.get(name) == value for _, identity in having)
        },
    )
    has = [f"{kind} = {_short(kind, value)}" for kind, value in _named(agreed) if kind not in names]
    has += [f"{name} = {value}" for name, value in agreed.attributes.items()]
    more = f" and {len(having) - 1} more have" if len(having) > 1 else " has"
    return agreed, [f"{listed([f'tier {first.tier}', *has])}, as keys[{number}]{more} it"]


def _having(policy: Policy, names: Mapping[str, str], tier: str | None) -> Iterator[tuple[int, Identity]]:
    """With their own digests, and the tier that holds for them."""
    for number, (digest, identity) in enumerate(_keys(policy).items()):
        known = identity._replace(api_key=digest.lower(), tier=identity.tier or policy.default_tier, ip=None)
        if tier in {None, known.tier} and all(getattr(known, kind) == value for kind, value in names.items()):
            yield number, known


def _named(identity: Identity) -> Iterator[tuple[str, str]]:
    for kind in IDENTITY_KINDS:
        value = getattr(identity, kind)
        if value is not None:
            yield kind, value


def _short(kind: str, value: str) -> str:
    """Of the hash of an API key, the first digits."""
    return f"{value[:8]}…" if kind == "api_key" else value


def _given(pairs: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (equals and name.strip() and value.strip()):  # it may be a key: it is not shown
            raise WrongCaller("--identity needs a name and a value, such as organization=acme or ip=192.0.2.7")
        if name in given:
            raise WrongCaller("--identity has the same name twice")
        given[name] = value
    return given


def _value(text: str) -> str | int:
    """Of an attribute: a number, true or false, else a text, which may stand in quotes."""
    if text in {"true", "false"}:
        return text == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _address(policy: Policy, ip: str | None) -> str | None:
    """As the policy counts it: of IPv6 a network."""
    if ip is None:
        return None
    try:
        host = str(ip_address(ip.partition("/")[0]))
    except ValueError:
        raise WrongCaller("ip=… is no IP address: write one such as 192.0.2.7 or 2001:db8::1") from None
    return policy.address({"type": "http", "client": (host, 0), "headers": []})


def _keys(policy: Policy) -> Mapping[str, Identity]:
    return policy.identify.keys if isinstance(policy.identify, IdentifyByApiKey) else {}


def _digest(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()
