"""Who asks, and for what, by the word of the user's own callables: settled where it is async, and checked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from typing import Any

from ratelimit.ground.printable import in_a_line
from ratelimit.model import Classify, Identify, Identity, Readings, Scope
from ratelimit.policy import Policy
from ratelimit.routes.routed import Routed


async def operation_of(said: Any, classify: Classify, scope: Scope) -> str | None:
    """The operation that `classify` has given, or is to give; None is exempt. Refused is a client that asks for units
    that are no number."""
    operation = await said if isawaitable(said) else said
    if operation is None:
        return None
    if isinstance(operation, str):  # of an Enum of texts, its own text
        if isinstance(operation, Routed):
            return operation.of(scope)
        return operation if isinstance(operation, Readings) else str.__str__(operation)
    raise TypeError(
        f"classify, which is {_named(getattr(classify, 'own', classify))}, returned {in_a_line(repr(operation))}: an "
        "operation is a text, and None is exempt from every limit"
    )


def asking(own: Identify, policy: Policy) -> Identify:
    """The user's own `identify`, with what it leaves to the policy: the address, the tier, or the whole request."""

    def identify(scope: Scope) -> Identity | Awaitable[Identity]:
        said = own(scope)
        if type(said) is Identity:
            return _completed(said, scope, policy)
        return settled(said, scope) if said is not None else by_policy(scope)

    async def settled(said: Any, scope: Scope) -> Identity:
        found = await said if isawaitable(said) else said
        if found is None:
            identity = by_policy(scope)
            return await identity if isawaitable(identity) else identity
        return _completed(_checked(found, own), scope, policy)

    def by_policy(scope: Scope) -> Identity | Awaitable[Identity]:
        said = policy.identify(scope)
        return said if type(said) is Identity else identity_of(said, policy.identify)

    return identify


async def identity_of(said: Any, identify: Identify) -> Identity:
    """The identity where `identify` is async; an error that names it where it gives none."""
    return _checked(await said if isawaitable(said) else said, identify)


def _completed(identity: Identity, scope: Scope, policy: Policy) -> Identity:
    if identity.ip is not None and identity.tier:
        return identity
    return completed(identity, (policy.address(scope) or None) if identity.ip is None else None, policy)


def completed(identity: Identity, address: str | None, policy: Policy) -> Identity:
    """With the address that asks, where it names none, and the tier of who names none."""
    *names, ip, tier, attributes = identity
    return Identity.of_checked((*names, address if ip is None else ip, tier or policy.default_tier, attributes))


def _checked(found: object, identify: Identify) -> Identity:
    """No message shows what else it was: it may well be an API key."""
    if isinstance(found, Identity):
        return found
    if found is None:
        raise TypeError("the policy's identify returned None: there is nothing left to ask who is calling")
    raise TypeError(
        f"identify, which is {_named(identify)}, returned a value of type {type(found).__name__}: it must return an "
        "Identity, or None where the policy's own is to say who is calling"
    )


def _named(function: Callable[..., object]) -> str:
    """`app.limits.operation_of`"""
    while isinstance(function, partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
