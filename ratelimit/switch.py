"""RATELIMIT_MODE: the environment switches every policy of the process off, or into shadow. The log says so."""

from __future__ import annotations

import os
from dataclasses import replace
from weakref import WeakKeyDictionary

from ratelimit.checks.values import one_of_these
from ratelimit.ground.printable import in_a_line
from ratelimit.log import lines as log
from ratelimit.model import ANONYMOUS, Classify, Identify, Identity, Refused, Scope
from ratelimit.opening import denials_of
from ratelimit.policy import Policy
from ratelimit.policy.tiers import in_shadow
from ratelimit.who import identity_of

VARIABLE = "RATELIMIT_MODE"
MODES = ("off", "shadow", "enforce")  # empty is "enforce" too

# Middlewares of one Policy object go on to share one: its memory, its lines in the log.
_in_shadow: WeakKeyDictionary[Policy, Policy] = WeakKeyDictionary()


def mode() -> str:
    """What the environment says now. ValueError, and a critical line, for anything that is none of the three."""
    try:
        return one_of_these(os.environ.get(VARIABLE) or "enforce", MODES)
    except ValueError as error:
        wrong = ValueError(f"{VARIABLE}: {error}, or leave it out")
        log.bad_mode(wrong)  # a framework may build its middlewares where a server takes no notice of errors
        raise wrong from None


def switched(policy: Policy) -> Policy:
    """The policy as the environment has it: in shadow one that denies nobody, and counts in the same counters."""
    if (now := mode()) == "enforce":
        return policy
    log.switched(in_a_line(policy.origin.rpartition("#")[0]) or "the policy", now)
    if now == "off":
        return policy
    if policy not in _in_shadow:
        _in_shadow[policy] = _shadow_of(policy)
    return _in_shadow[policy]


def unless_off(classify: Classify) -> Classify:
    """The same, or while all is switched off one that exempts every request."""
    return exempt if mode() == "off" else classify


def exempt(scope: Scope) -> None:
    """A Classify: no limit applies."""


def refusing_nobody(identify: Identify, policy: Policy) -> Identify:
    """The same, or in shadow one that counts by its address whom it would refuse: the keys of two callers."""
    if mode() != "shadow":
        return identify

    def by_address(why: Refused, scope: Scope) -> Identity:
        address = policy.address(scope)
        denials_of(policy).refused(why, address, os.urandom(12).hex(), "would refuse")
        return Identity(ip=address or None, tier=ANONYMOUS)

    async def lenient(scope: Scope) -> Identity:
        try:
            said = identify(scope)
            return said if type(said) is Identity else await identity_of(said, identify)
        except Refused as why:
            return by_address(why, scope)

    return lenient


def _shadow_of(policy: Policy) -> Policy:
    store = policy.store  # what it says while its store is out of reach denies nobody either
    return replace(
        policy,
        tiers={name: tuple(in_shadow(limit) for limit in limits) for name, limits in policy.tiers.items()},
        shadow=True,
        store=replace(store, on_failure="allow") if store.on_failure == "deny" else store,
    )
