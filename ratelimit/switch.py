"""RATELIMIT_MODE: the environment switches every policy of the process off, or into shadow. The log says so."""

from __future__ import annotations

import os
from copy import copy
from dataclasses import replace
from functools import cache, partial
from typing import Protocol
from weakref import WeakKeyDictionary

from ratelimit.checks.values import one_of_these
from ratelimit.control.account import Account
from ratelimit.control.control import Limits, OfExempt, new
from ratelimit.ground.printable import in_a_line
from ratelimit.log import lines as log
from ratelimit.model import ANONYMOUS, Charge, Classify, Decision, Identify, Identity, Refused, Scope
from ratelimit.opening import denials_of
from ratelimit.policy import Policy
from ratelimit.routes.app import Lenient
from ratelimit.slots.leases import Leases
from ratelimit.stores.memory import MemoryStore
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


class Limiter(Protocol):
    policy: Policy
    _account: Account


def unless_off(classify: Classify, limiter: Limiter) -> Classify:
    """The same, or while all is switched off one that exempts every request. What an app asks of its scope is there
    all the same: a Decision without limits, an Identity of the address, a Control that counts nowhere."""
    if mode() != "off":
        return classify
    nowhere = cache(_nowhere)

    def exempt(scope: Scope) -> None:
        decision, identity = Decision(True, now_ms=0), Identity(ip=limiter.policy.address(scope) or None)
        scope["ratelimit"], scope["ratelimit.identity"] = decision, identity
        control = new(OfOff, (nowhere(limiter._account), decision, identity))
        control.around = scope.get("ratelimit.control")  # of one that is not off: it hears what is told within
        scope["ratelimit.control"] = control

    return exempt


class OfOff(OfExempt):
    """Of a request while all is switched off: what is charged or held of any limit is counted nowhere."""

    def charges(self, limit: Limits) -> tuple[Charge, ...]:
        return ()


def _nowhere(account: Account) -> Account:
    """The same, on a memory in which there is nothing."""
    made, memory = copy(account), MemoryStore()
    made._store, made.leases, made._waits = memory, Leases(memory), False
    return made


def refusing_nobody(identify: Identify, policy: Policy) -> Identify:
    """The same, or in shadow one that counts by its address whom it would refuse: the keys of two callers."""
    if mode() != "shadow":
        return identify

    async def lenient(scope: Scope) -> Identity:
        try:
            said = identify(scope)
            return said if type(said) is Identity else await identity_of(said, identify)
        except Refused as why:
            return Identity(ip=_told(why, scope, policy) or None, tier=ANONYMOUS)

    return lenient


def lenient(policy: Policy) -> Lenient | None:
    """What becomes of units that are no number, in shadow: nobody is refused for it."""
    return Lenient(partial(_told, policy=policy)) if mode() == "shadow" else None


def _told(why: Refused, scope: Scope, policy: Policy) -> str:
    """Said in the log, of the address that is returned."""
    address = policy.address(scope)
    denials_of(policy).refused(why, address, os.urandom(12).hex(), "would refuse")
    return address


def _shadow_of(policy: Policy) -> Policy:
    store = policy.store  # what it says while its store is out of reach denies nobody either
    store = replace(store, on_failure="allow") if store.on_failure == "deny" else store
    return replace(policy, all_in_shadow=True, store=store)
