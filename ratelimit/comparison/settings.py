"""What a policy says besides its limits: style, store, identity, waits, WebSockets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from ratelimit.comparison.changes import Change, differing, effect_of, said
from ratelimit.ground.times import length
from ratelimit.identity import IdentifyByApiKey
from ratelimit.identity.address import ClientAddress
from ratelimit.policy import Policy
from ratelimit.stores import split_url

EVERYBODY = "everybody"
_ELSEWHERE = frozenset({"tiers", "identify", "classify", "style", "address", "overrides", "store", "origin"})
_ELSEWHERE |= {"operations", "elsewhere", "waits", "websocket", "all_in_shadow"}
_AT_START = "in force from the next start on"


def compare_settings(old: Policy, new: Policy) -> Iterator[Change]:
    yield from _style(old, new)
    yield from _store(old, new)
    yield from _identity(old, new)
    for tier in dict.fromkeys([*old.waits, *new.waits]):
        before, after = old.waits.get(tier), new.waits.get(tier)
        if before != after:
            one, other = (
                None if wait is None else f"{length(wait.up_to_ms)}, {wait.queue} at a time" for wait in (before, after)
            )
            who = f"tier {tier}"
            effect = effect_of(one, other)
            sentence = f"{who}: who is denied waits {other or 'no more'}, before {one or 'not at all'}"
            yield Change("wait", f"tiers.{tier}.wait", who, effect, one, other, sentence)
    yield from _fields("websocket", "WebSockets", old.websocket, new.websocket)
    for name in [field.name for field in fields(Policy) if field.init and field.name not in _ELSEWHERE]:
        before, after = getattr(old, name), getattr(new, name)
        if before != after and is_dataclass(before) and type(before) is type(after):
            yield from _fields(name, EVERYBODY, before, after)
        elif before != after:
            sentence = f"{name} is {said(after)}, which was {said(before)}"
            yield Change("identity", name, EVERYBODY, "changed", said(before), said(after), sentence)


def _fields(what: str, who: str, old: Any, new: Any) -> Iterator[Change]:
    for name, before, after in differing(old, new):
        one, other = said(before), said(after)
        sentence = f"[{what}] {name} is {other}, which was {one}"
        yield Change(what, f"{what}.{name}", who, "changed", one, other, sentence)


def _style(old: Policy, new: Policy) -> Iterator[Change]:
    if old.style != new.style:
        one, other = _called(old.style), _called(new.style)
        sentence = f"denials are told as {other}, before as {one}"
        yield Change("style", "style", EVERYBODY, "changed", one, other, sentence)


def _called(style: Any) -> str:
    inner = getattr(style, "style", None)
    if inner is not None:
        return f"{_called(inner)} with ietf_headers"
    values = {field.name: getattr(style, field.name) for field in fields(style)} if is_dataclass(style) else {}
    options = ", ".join(f"{name} = {said(value)}" for name, value in values.items())
    return f"{type(style).__name__.lower()}{f' ({options})' if options else ''}"


def _store(old: Policy, new: Policy) -> Iterator[Change]:
    for name, before, after in differing(old.store, new.store):
        anew = name in {"url", "prefix"}
        one, other = (_url(value) if name == "url" else said(value) for value in (before, after))
        what = "timeout" if name == "timeout_ms" else name
        if name == "url":
            sentence = (
                "[store] url is another one: where RATELIMIT_STORE_URL does not come before it, all counters there"
            )
            sentence += f" are others, {_AT_START}"
        else:
            more = ": all counters begin at 0, as their names begin with it" if anew else ""
            sentence = f"[store] {what} is {other}, which was {one}{more}; {_AT_START}"
        yield Change("store", f"store.{what}", EVERYBODY, "changed", one, other, sentence, anew=anew)


def _url(url: str) -> str:
    """There may be a password in it."""
    return f"{split_url(url).scheme}://…"


def _identity(old: Policy, new: Policy) -> Iterator[Change]:
    if isinstance(old.identify, IdentifyByApiKey) and isinstance(new.identify, IdentifyByApiKey):
        one, other = said(old.identify.sources), said(new.identify.sources)
        if one != other:
            sentence = f"API keys are looked for in {other}, before in {one}"
            yield Change("identity", "identity.api_key", EVERYBODY, "changed", one, other, sentence)
    if isinstance(old.address, ClientAddress) and isinstance(new.address, ClientAddress):
        for name, before, after in differing(old.address, new.address):
            anew = name == "ipv6_prefix"
            more = ": callers are counted by other addresses" if not anew else ": IPv6 callers begin at 0"
            sentence = f"[identity] {name} is {said(after)}, which was {said(before)}{more}"
            yield Change(
                "identity", f"identity.{name}", EVERYBODY, "changed", said(before), said(after), sentence, anew=anew
            )
