"""What takes two places of a policy file to see. Each check yields its problems with the path of what to change, also
those of what is only odd.

Names are compared with those that are written, valid or not: a limit with a mistake in it is still there to be named.
"""

from __future__ import annotations

from collections.abc import Iterator

from ratelimit.config.checks.costs import check_costs
from ratelimit.config.checks.launches import check_launches
from ratelimit.config.checks.limits import check_limits, limits_of
from ratelimit.config.checks.names import check_names
from ratelimit.config.checks.overrides import check_overrides
from ratelimit.config.checks.reserve import check_reserve
from ratelimit.config.checks.rules import check_rules
from ratelimit.config.checks.websocket import check_websocket
from ratelimit.config.grammar.messages import Path, Problem, place
from ratelimit.config.grammar.valid import Valid
from ratelimit.ground.words import one_of, shown
from ratelimit.identity.networks import check_not_everybody, trusted_network
from ratelimit.model import ANONYMOUS


def check(valid: Valid) -> list[Problem]:
    return [
        *_check_proxies(valid),
        *_check_tiers(valid),
        *_check_keys(valid),
        *check_rules(valid),
        *check_names(valid),
        *check_limits(valid),
        *check_launches(valid),
        *check_costs(list(limits_of(valid))),
        *check_reserve(valid),
        *check_websocket(valid),
        *check_overrides(valid),
    ]


def _check_proxies(valid: Valid) -> Iterator[Problem]:
    identity = valid.file.identity
    networks = [network for text in identity.trusted_proxies if (network := trusted_network(text)) is not None]
    try:
        check_not_everybody(networks, "what is here, taken together,")
    except ValueError as error:
        yield Problem(("identity", "trusted_proxies"), str(error))
    if identity.trusted_hops is not None and identity.trusted_proxies:
        why = "is instead of trusted_proxies, where proxies have no fixed addresses; write one of them"
        yield Problem(("identity", "trusted_hops"), why)


def _check_tiers(valid: Valid) -> Iterator[Problem]:
    tiers = valid.given(("tiers",))
    if ANONYMOUS not in tiers:
        example = '[tiers.anonymous] with limits = [{ name = "ip", rate = "60/minute" }]'
        yield Problem(("tiers", ANONYMOUS), f"is missing; callers without a known API key need one: write {example}")
    named: list[tuple[Path, str | None]] = [(("identity", "default_tier"), valid.file.identity.default_tier)]
    named += [((*path, "tier"), key.tier) for path, key in valid.numbered(("keys",), valid.file.keys)]
    named += [
        ((*path, "tier"), override.tier) for path, override in valid.numbered(("overrides",), valid.file.overrides)
    ]
    for path, tier in named:
        if tier is not None and tier not in tiers:
            yield Problem(path, f"{shown(tier)} is not a tier{one_of(tier, tiers)}")


def _check_keys(valid: Valid) -> Iterator[Problem]:
    has_default = "default_tier" in valid.given(("identity",))
    first: dict[str, Path] = {}
    for path, key in valid.numbered(("keys",), valid.file.keys):
        if not has_default and "tier" not in valid.given(path):
            yield Problem((*path, "tier"), "is missing, and [identity] has no default_tier; write one of them")
        if first.setdefault(key.sha256, path) != path:
            yield Problem(
                (*path, "sha256"), f"is the same as that of {place(first[key.sha256])}; an API key has one entry"
            )
