"""Who is calling, by what a line of a log says: fields that are mapped, the user and the address that the format has.

`who` of an Event is the bytes of an address where a line says no more. Otherwise it is a tuple: address, user, then a
value for each mapped field in the order of `--map`; or, of a log of our own, pairs of names and values.
"""

from __future__ import annotations

from collections.abc import Mapping
from re import compile as regex
from typing import Any

from ratelimit.checks.caller import Identity
from ratelimit.identity import IdentifyByApiKey, hash_api_key
from ratelimit.model import ANONYMOUS, IDENTITY_KINDS
from ratelimit.policy import Policy
from ratelimit.policy.keys import caller, escaped
from ratelimit.simulate.logs.own import Mapped

Value = str | int
MOST_BITS = 64  # of a number that is one; an Identity takes some more, and JSON any
_SHA256 = regex(r"[0-9a-fA-F]{64}").fullmatch
_NAMES = frozenset({*IDENTITY_KINDS, "tier", ":user"})
_NONE = Identity().attributes  # the same for all who have none: a dict of each would be a tenth of all memory
_NOBODY = frozenset({"", "-"})  # how logs write that there is none


class Identities:
    """Called with `who`, the Identity that the policy knows: of a key that it has the key's own, with its tier.

    `mapped` says what the values behind address and user stand for. Who names no tier
    is of the tier that the policy gives to the same organization, user or application in `[[keys]]`, else of its
    default tier, else anonymous; `untiered` has how many of the last there were.
    """

    def __init__(self, policy: Policy, mapped: Mapped | None = None) -> None:
        self.untiered = 0
        self._policy = policy
        mapped = mapped or Mapped()
        self._fields = tuple(mapped.fields)
        self._had = dict.fromkeys(mapped.fields, 0)  # how many callers each was there of
        self._constants = {
            name: text if name in _NAMES else _attribute(text) for name, text in mapped.constants.items()
        }
        identify = policy.identify
        keys = identify.keys if isinstance(identify, IdentifyByApiKey) else {}
        self._by_key = {digest.lower(): identity for digest, identity in keys.items()}
        self._by_escaped = {escaped("api_key", digest): digest for digest in self._by_key}
        self._reads_basic = bool(keys) and "basic" in getattr(identify, "sources", ())
        self._named: dict[tuple[str, str], list[Identity]] = {}
        for identity in keys.values():
            for kind in ("organization", "user", "application"):
                if (name := getattr(identity, kind)) is not None:
                    self._named.setdefault((kind, name), []).append(identity)

    def __call__(self, who: Any) -> Identity:
        if type(who) is tuple and type(who[0]) is tuple:
            return self._recorded(dict(who))
        said = self._said(who)
        peer = said.pop("ip", None)
        ip = self._address(peer) if peer else None
        api_key, user = said.pop("api_key", None), said.pop(":user", None)
        if user is not None and "user" not in said:
            if self._reads_basic:  # the user name of Basic is an API key to this policy
                api_key = user if api_key is None else api_key
            else:
                said["user"] = user
        known = None if api_key is None else self._by_key.get(_hashed(str(api_key)))
        if known is not None:
            return known._replace(ip=ip, api_key=_hashed(str(api_key)))
        names = {kind: said.pop(kind, None) for kind in ("organization", "user", "application", "tier")}
        if names["organization"] is None and names["user"] is None:
            ip = ip or self._address(None)
        if not any(names.values()):
            return Identity(ip=ip, tier=ANONYMOUS, attributes=said or _NONE)
        tier = names.pop("tier")
        same = self._known_as(names)
        attributes = {**same.attributes, **said} if same else said
        return Identity(**names, ip=ip, tier=tier or self._tier(same), attributes=attributes or _NONE)

    def facts(self) -> dict[str, int]:
        return {"untiered": self.untiered, **{f"mapped {name}": count for name, count in self._had.items()}}

    def _recorded(self, said: dict[str, Any]) -> Identity:
        """As the limiter itself had it; of an API key it has written what stands in its log."""
        said = {name: _plain(name, value) for name, value in said.items()}
        names = {kind: said.pop(kind, None) for kind in (*IDENTITY_KINDS, "tier")}
        if (escaped_key := names["api_key"]) is not None:
            names["api_key"] = self._by_escaped.get(escaped_key, escaped_key)
        known = any(names[kind] for kind in ("organization", "user", "api_key"))
        names["ip"] = names["ip"] or (None if known else self._address(None))
        names["tier"] = names["tier"] or (self._tier(None) if known else ANONYMOUS)
        return Identity(**names, attributes=said or _NONE)

    def _said(self, who: Any) -> dict[str, Any]:
        """By field; what is empty or `-` is not there."""
        if type(who) is bytes:
            pairs: Any = (("ip", who),)
        else:
            pairs = zip(("ip", ":user", *self._fields), who, strict=True)
        said: dict[str, Any] = {**self._constants}
        for name, value in pairs:
            plain = None if value is None else _plain(name, value)
            if plain is not None and (type(plain) is not str or plain.strip() not in _NOBODY):
                said[name] = plain if name in _NAMES else _attribute(plain)
                if name in self._had:
                    self._had[name] += 1
        return said

    def _address(self, said: Any) -> str:
        """As the middleware counts it whose peer that is."""
        return self._policy.address({"type": "http", "client": (str(said), 0) if said else None, "headers": ()})

    def _known_as(self, names: Mapping[str, Any]) -> Identity | None:
        """A key of the policy with these names, where all that have them are of one tier."""
        found = None
        for kind, name in names.items():
            if name is not None:
                known = self._named.get((kind, name), [])
                found = known if found is None else [one for one in found if one in known]
        if not found or len({(one.tier, tuple(one.attributes.items())) for one in found}) > 1:
            return None
        return found[0]

    def _tier(self, same: Identity | None) -> str:
        if same is not None and same.tier:
            return same.tier
        if self._policy.default_tier:
            return self._policy.default_tier
        self.untiered += 1
        return ANONYMOUS


def called(identity: Identity) -> str:
    """`organization=acme`, as the log of the limiter has it, also of an API key that comes from there."""
    api_key = identity.api_key
    if api_key is not None and api_key.startswith("#") and identity.root[0] == "api_key":
        return f"api_key={api_key}"
    return caller(identity)


def _hashed(api_key: str) -> str:
    return api_key.lower() if _SHA256(api_key) else hash_api_key(api_key)


def _plain(name: str, value: bytes | Value) -> Value:
    """What an Identity takes under a name."""
    if type(value) is bytes:
        return value.decode("utf-8", "backslashreplace")
    too_long = type(value) is int and value.bit_length() > MOST_BITS
    return str(value) if too_long or name in _NAMES else value  # type: ignore[return-value] # no bytes any more


def _attribute(text: Value) -> Value:
    """A number where it is one, as formulas need it."""
    return int(text) if type(text) is str and text.isdecimal() and text.isascii() and len(text) < 19 else text
