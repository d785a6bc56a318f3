"""A limit that is declared on a route which the limiter could not see: then the dependency asks the store itself."""

from __future__ import annotations

import logging

from ratelimit.control.control import Control, OfExempt
from ratelimit.endpoints.conflicts import checked
from ratelimit.fastapi.control import Denied
from ratelimit.ground.printable import in_a_line
from ratelimit.model import Concurrency, Decision, Scope, StoreUnavailable
from ratelimit.routes.marks import Declares
from ratelimit.routes.routed import DECLARED, Endpoint, Routed, WrongLimits

TAKEN = "ratelimit.taken"  # in the scope: what the request took of other limits that the limiter could not see

_log = logging.getLogger("ratelimit")


class Unseen:
    """Of one declared limit. It is charged by itself, after the limits of the tier: a second trip to the store."""

    def __init__(self, declared: Declares) -> None:
        self._declared = declared
        self._alone = Routed((), Endpoint(None, "dependency", (declared.limit,)))
        self._told = False

    async def check(self, scope: Scope) -> None:
        """Charge it, if nobody has. Denied raises, with what the request took before given back: all or nothing.

        Nothing is charged to a request that is exempt, or that no limiter saw.
        """
        control, limit = scope.get("ratelimit.control"), self._declared.limit
        charged: frozenset[str] = scope.get(DECLARED, frozenset())
        if not isinstance(control, Control) or isinstance(control, OfExempt) or limit.name in charged:
            return
        self._tell(scope)
        if isinstance(limit.kind, Concurrency):
            return
        if wrong := checked(control.account.policy)(in_a_line(scope.get("path", "")), (self._declared,)):
            raise WrongLimits(wrong)
        scope[DECLARED] = charged | {limit.name}
        control.raises = Denied
        await self._charge(control, scope.setdefault(TAKEN, []))

    async def _charge(self, control: Control, taken: list[Decision]) -> None:
        account = control.account
        account.late = True  # from the next request on a denial from inside is answered by the style
        charges = account.policy.charges(control.identity, self._alone)
        if not charges:  # it is off
            return
        failure = None
        try:
            decision = await account.store("acquire").acquire(charges)
        except StoreUnavailable as error:
            if account.policy.store.on_failure != "deny":
                return
            failure, decision = error, Decision(False, now_ms=0, unavailable=True)
        if decision.allowed:
            control.saw(decision.states)
            taken.append(decision)
            return
        await control.give_back(None, lambda _: True)
        while taken:
            await account.give_back(taken.pop())
        denied = Denied(f"limit {in_a_line(self._declared.limit.name)}: the request is denied")
        try:
            if control.inside is not None:
                control.inside.deny(control.denied(decision, charges[0].cost), denied, failure)
            raise denied
        finally:
            del denied  # it refers to this frame

    def _tell(self, scope: Scope) -> None:
        if self._told:
            return
        self._told = True
        slot = isinstance(self._declared.limit.kind, Concurrency)
        _log.error(
            'the limit "%s", declared at %s, is %s on %s: the limiter sees no such route. Mount it as Starlette and'
            " FastAPI do, or add a limiter to the app that it is in",
            in_a_line(self._declared.limit.name),
            self._declared.where,
            "not enforced" if slot else "a second trip to the store",
            in_a_line(scope.get("path", "")),
        )
