"""The answer to a caller that asks for its own usage, from what the limiter around has put into the scope."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

from ratelimit.answers.telling import refusal
from ratelimit.control.account import Account
from ratelimit.control.control import Control, OfExempt
from ratelimit.endpoints.conflicts import declared
from ratelimit.identity import IdentifyByApiKey
from ratelimit.log import lines as log
from ratelimit.model import Answer, Charge, Headers, Refused, Scope, StoreUnavailable, Style
from ratelimit.policy.keys import caller
from ratelimit.routes.routed import Endpoint, Routed
from ratelimit.usage.reading import Read, read
from ratelimit.usage.told import JSON, document, is_known

READING = frozenset({"GET", "HEAD"})
NOBODY = Refused(401, "unauthorized", "Who asks for its own usage has to say who it is: send an API key that is known.")
OTHER_METHOD = Refused(405, "method_not_allowed", "Usage is read with GET or HEAD.")


async def answered(scope: Scope) -> Answer:
    """200 with all limits of the caller's tiers, 304 where it has that already, 401 for who is known by nothing but an
    address, 405 for another method, 503 while the store is out of reach; all but the first two in the style's envelope.

    Nothing is charged. TypeError for a store that has no `peek`; RuntimeError where no limiter has looked who asks.
    """
    control = _control(scope)
    if isinstance(control, OfExempt):  # all is switched off
        return _told([], scope)
    style = _style(control.account, scope)
    if scope["method"] not in READING:
        return _refused(control, style, OTHER_METHOD, [(b"allow", b"GET, HEAD")])
    known = [one for one in _around(control) if not one.identity.anonymous]
    if not known:
        return _refused(control, style, NOBODY, [(b"www-authenticate", _challenge(control.account))])
    reads = []
    try:
        for one, charges in _charges(known):
            reads.append(await read(one.account, charges))
    except StoreUnavailable as why:
        log_id = os.urandom(12).hex()
        log.without_store(why, "usage", partial(caller, known[0].identity), log_id, allowed=False)
        return style.unavailable(log_id)
    return _told(reads, scope)


def _control(scope: Scope) -> Control:
    found = scope.get("ratelimit.control")
    if isinstance(found, Control):
        return found
    if "ratelimit.policies" in scope:
        raise RuntimeError(
            f"usage at {scope['path']}: the limiter has let this request through without a look at who asks, as a rule"
            " exempts it and its routes are hidden from it: leave that rule out, known callers are charged nothing here"
        )
    raise RuntimeError(
        "usage: no limiter saw this request, so that there is nothing to tell: put RateLimitMiddleware around the app,"
        " app.add_middleware(RateLimitMiddleware, policy=…)"
    )


def _around(control: Control) -> Iterator[Control]:
    """It, and those of the policies around it, the innermost first."""
    found: Control | None = control
    while found is not None:
        yield found
        found = found.around


def _charges(known: list[Control]) -> Iterator[tuple[Control, tuple[Charge, ...]]]:
    """All that each of them is limited by, whatever the operation. What endpoints declare is the outermost's."""
    seen: set[str] = set()
    for control in reversed(known):
        account, identity = control.account, control.identity
        names = account.policy.limits_of(identity)
        charges = account.charges(names, identity, control.decision, control.outer) if names else ()
        limits = tuple([limit for limit in declared(account.policy) if limit.name not in seen])
        if limits:
            charges += account.policy.charges(identity, Routed((), Endpoint(None, "dependency", limits)))
            seen.update(limit.name for limit in limits)
        if charges:
            yield control, charges


def _told(reads: list[Read], scope: Scope) -> Answer:
    body, tag = document(reads)
    headers = [(b"etag", tag), (b"cache-control", b"private, no-cache")]
    if is_known(tag, scope):
        return Answer(304, headers, b"")
    return Answer(200, [JSON, *headers], body)


def _refused(control: Control, style: Style, why: Refused, headers: Headers) -> Answer:
    log_id = os.urandom(12).hex()
    control.account.denials.refused(why, control.identity.ip or "", log_id)
    whole = refusal(style, why, log_id)
    return whole._replace(headers=[*whole.headers, *headers])


def _style(account: Account, scope: Scope) -> Style:
    return account.scoped(scope) if account.scoped else account.style


def _challenge(account: Account) -> bytes:
    """A 401 has to name a scheme: RFC 9110, section 15.5.2."""
    identify = account.policy.identify
    basic = isinstance(identify, IdentifyByApiKey) and identify.sources[:1] == ("basic",)
    return b'Basic realm="API"' if basic else b"Bearer"
