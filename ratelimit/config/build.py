"""A valid file becomes a Policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ratelimit.config.grammar.amounts import Amount
from ratelimit.config.grammar.fields import client_ip
from ratelimit.config.grammar.launches import milliseconds
from ratelimit.config.grammar.messages import place
from ratelimit.config.grammar.settings import AnyStyle, StyleName
from ratelimit.config.grammar.tables import KeyTable, LimitTable, OverrideTable, PolicyFile
from ratelimit.config.launches import launch_of
from ratelimit.identity import IdentifyByApiKey
from ratelimit.identity.address import ClientAddress
from ratelimit.model import FOREVER, Concurrency, Identity, Limit, Quota, Rate, Style
from ratelimit.operations import ClassifyByRules, Rule
from ratelimit.policy import (
    Elsewhere,
    Override,
    Policy,
    RecordSettings,
    ReloadSettings,
    StoreSettings,
    Wait,
    WebSocketSettings,
)
from ratelimit.styles import Facturapi, Ietf, Lendworks, Lightspeed, WithIetfHeaders, WithJitter

STYLES: Mapping[StyleName, Callable[..., Style]] = {
    "facturapi": Facturapi,
    "lightspeed": Lightspeed,
    "lendworks": Lendworks,
    "ietf": Ietf,
}


def build(file: PolicyFile, origin: str, callers: Mapping[str, Identity] | None = None) -> Policy:
    """`callers` by the SHA-256 of their API keys, where they are not among the `keys` of the file."""
    identity = file.identity
    address = ClientAddress(
        tuple(identity.trusted_proxies), identity.forwarded, identity.ipv6_prefix, identity.trusted_hops
    )
    return Policy(
        tiers={
            name: tuple(limit_of(limit, identity.ipv6_prefix) for limit in tier.limits)
            for name, tier in file.tiers.items()
        },
        identify=IdentifyByApiKey(
            keys={key.sha256: identity_of(key) for key in file.keys} if callers is None else callers,
            address=address,
            sources=tuple(identity.api_key),
        ),
        classify=ClassifyByRules([Rule.parse(text, name) for name, texts in file.operations.items() for text in texts]),
        style=_style(file.style),
        address=address,
        overrides=tuple(_override(override, identity.ipv6_prefix) for override in file.overrides),
        default_tier=identity.default_tier,
        store=StoreSettings(
            file.store.url,
            file.store.prefix,
            file.store.timeout,
            file.store.on_failure,
            file.store.max_callers,
            frozenset({"timeout": "timeout_ms"}.get(name, name) for name in file.store.model_fields_set),
        ),
        origin=origin,
        operations=frozenset(file.operations),
        elsewhere=tuple(_elsewhere(file)),
        waits={name: Wait(tier.wait.up_to, tier.wait.queue) for name, tier in file.tiers.items() if tier.wait},
        websocket=WebSocketSettings(file.websocket.messages, file.websocket.on_excess),
        record=None if file.record is None else RecordSettings(**file.record.model_dump(by_alias=False)),
        reload=ReloadSettings(file.reload.watch, file.reload.refuse_above),
    )


def identity_of(key: KeyTable) -> Identity:
    return Identity(
        organization=key.organization,
        user=key.user,
        api_key=key.sha256,
        application=key.application,
        tier=key.tier,
        attributes=key.attributes,
    )


def limit_of(limit: LimitTable, ipv6_prefix: int = 64) -> Limit:
    [(kind, amount)] = _kinds(limit)  # the checks have seen to it that there is one
    made = Limit(
        name=limit.name,
        kind=kind,
        max=amount.max,
        operations=None if limit.operations is None else frozenset(limit.operations),
        cost=limit.cost,
        mode=limit.mode,
        enforce_from_ms=0 if limit.enforce_from is None else milliseconds(limit.enforce_from),
        reserve=limit.reserve,
        hold=limit.hold,
        counts=limit.counts,
        refund_on=tuple(limit.refund_on or ()),
        charge_on=tuple(limit.charge_on or ()),
        launch=None if limit.launch is None else launch_of(limit.launch, ipv6_prefix),
    )
    object.__setattr__(made, "per", tuple(limit.per))  # checked: an attribute of a key may be named nearly as a kind
    return made


def _kinds(limit: LimitTable) -> Iterator[tuple[Rate | Quota | Concurrency, Amount]]:
    if limit.rate is not None and limit.rate.window_ms is not None:
        # the shortest window, a second, has as many milliseconds as a window may have sub-windows
        yield Rate(limit.rate.window_ms, **_given(precision=limit.precision)), limit.rate
    if limit.quota is not None and limit.quota.period is not None:
        yield Quota(limit.quota.period, **_given(timezone=limit.timezone, anchor_day=limit.anchor_day)), limit.quota
    if limit.concurrency is not None:
        yield Concurrency(**_given(lease_ms=limit.lease)), limit.concurrency


def _given(**options: Any) -> dict[str, Any]:
    """The options that a file gives; of the others the model has the defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _override(override: OverrideTable, ipv6_prefix: int) -> Override:
    values = {
        "organization": override.organization,
        "user": override.user,
        "api_key": override.api_key,
        "application": override.application,
        "ip": None if override.ip is None else client_ip(override.ip, ipv6_prefix),
        "tier": override.tier,
    }
    match: dict[str, str | int] = {kind: value for kind, value in values.items() if value is not None}
    return Override(
        match={**match, **override.attributes},
        maxes={name: amount.max for name, amount in override.limits.items() if amount is not None},
        until_ms=FOREVER if override.until is None else milliseconds(override.until),
        from_ms=0 if override.starts is None else milliseconds(override.starts),
        mode=override.mode,
        limits=frozenset(name for name, amount in override.limits.items() if amount is None),
        reason=override.reason or "",
    )


def _elsewhere(file: PolicyFile) -> Iterator[Elsewhere]:
    known = {limit.name for tier in file.tiers.values() for limit in tier.limits}
    for number, override in enumerate(file.overrides):
        for name, amount in override.limits.items():
            if name not in known:
                where = place(("overrides", number, "limits", name))
                if amount is None:
                    yield Elsewhere(where, name, None, None, None)
                else:
                    yield Elsewhere(where, name, amount.written, amount.window_ms, amount.period)


def _style(table: AnyStyle) -> Style:
    options = table.model_dump(exclude={"name", "ietf_headers", "jitter"}, exclude_none=True)
    style = STYLES[table.name](**options)
    style = WithIetfHeaders(style) if table.ietf_headers and table.name != "ietf" else style
    return WithJitter(style, table.jitter) if table.jitter else style
