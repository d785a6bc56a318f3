"""From who is calling and what kind of operation it is to the charges to make: a pure look-up.

Everything that does not depend on the caller is computed when a Policy is made: which limits apply to which operation,
their costs, the fixed parts of their keys, and where an override is found (overrides.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ratelimit.ground.memo import Returning
from ratelimit.model import (
    Charge,
    Classify,
    Identify,
    Identity,
    Limit,
    Readings,
    Scope,
    Style,
)
from ratelimit.policy.keys import by_value, escaped, getter_of, memorable
from ratelimit.policy.overrides import Elsewhere, Matched, Override
from ratelimit.policy.settings import (
    IN_MEMORY,
    ONLY_HANDSHAKES,
    RELOADED,
    RecordSettings,
    ReloadSettings,
    StoreSettings,
    Wait,
    WebSocketSettings,
)
from ratelimit.policy.shadow import Shadows
from ratelimit.policy.tiers import Counter, Instead, Tier, compile_tier, counters_of, listed
from ratelimit.policy.timelines import looked_at, maxes_of, stages_of
from ratelimit.policy.unknown import KnownOperations
from ratelimit.routes.routed import Routed


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Policy:
    """Tiers of limits, and the parts that tell callers, operations and answers apart.

    `origin` says where the policy comes from: two policies of one origin are the same policy. `operations` are those
    that `classify` may give besides the built-in ones and those that limits name: of any other it is said once in the
    log that limits with `operations` do not count it. `elsewhere` is what overrides say of limits that endpoints may
    declare, `websocket` what messages of WebSockets are charged as. ValueError where the tiers contradict themselves.
    """

    tiers: Mapping[str, tuple[Limit, ...]]
    identify: Identify
    classify: Classify
    style: Style
    address: Callable[[Scope], str]
    overrides: tuple[Override, ...] = ()
    default_tier: str | None = None
    store: StoreSettings = IN_MEMORY
    origin: str = ""
    operations: frozenset[str] = frozenset()
    waits: Mapping[str, Wait] = field(default_factory=dict)  # by tier; of the others a denial is told at once
    websocket: WebSocketSettings = ONLY_HANDSHAKES
    record: RecordSettings | None = None  # None: nothing is recorded
    elsewhere: tuple[Elsewhere, ...] = ()
    reload: ReloadSettings = RELOADED
    all_in_shadow: bool = False  # whatever the limits say; one that is off stays off
    _compiled: Mapping[str, Tier] = field(init=False, repr=False)
    _matched: Matched = field(init=False, repr=False)
    _named: frozenset[str] = field(init=False, repr=False)  # operations; users' own names for others are without number
    _operations: KnownOperations = field(init=False, repr=False)
    _telling: Callable[[Identity], object] = field(init=False, repr=False)
    _recent: Returning[tuple[object, ...], tuple[Charge, ...]] = field(init=False, repr=False)
    _by_object: Returning[tuple[int, str], tuple[Identity, tuple[Charge, ...]]] = field(init=False, repr=False)
    _instead: Instead = field(init=False, repr=False)
    _shadows: Shadows | None = field(init=False, repr=False)
    _paused: bool = field(init=False, repr=False, default=False)

    def __post_init__(self) -> None:
        if self.default_tier is not None and self.default_tier not in self.tiers:
            raise ValueError(f'default_tier is "{self.default_tier}", but the policy has only {listed(self.tiers)}')
        if unknown := set(self.waits) - set(self.tiers):
            raise ValueError(f"waits names {listed(sorted(unknown))}, but the policy has only {listed(self.tiers)}")
        compiled = {name: compile_tier(name, limits) for name, limits in self.tiers.items()}
        object.__setattr__(self, "_compiled", compiled)
        object.__setattr__(self, "_named", frozenset().union(*[tier.by_operation for tier in compiled.values()]))
        declared = self.operations | ({self.websocket.messages} if self.websocket.messages else frozenset())
        object.__setattr__(self, "_operations", KnownOperations(declared, self._named, self.classify))
        object.__setattr__(self, "_matched", Matched(self.overrides))
        object.__setattr__(self, "_telling", getter_of(_told_apart_by(self.tiers, self.overrides)))
        object.__setattr__(self, "_recent", Returning())
        # Built-in identification gives the same object again. The entry holds it: its id is not another's meanwhile.
        object.__setattr__(self, "_by_object", Returning())
        object.__setattr__(self, "_instead", Instead(tuple(self.tiers), self.default_tier))
        object.__setattr__(self, "_shadows", Shadows() if self.all_in_shadow else None)

    def charges(self, identity: Identity, operation: str) -> tuple[Charge, ...]:
        """What a request takes, in the order of the tier's limits; with Readings, the most that one of them takes.

        A caller of late gets the same tuple again, as long as nothing that a limit or an override goes by has changed,
        and its names are not kilobytes. A tier that the policy does not have (a rolling deploy) is the default tier,
        else "anonymous": nothing is unlimited by accident, and nobody gets an error for it. Raises LookupError if the
        policy has neither, or the identity names no tier and there is no default.
        """
        if identity.attributes:  # they may be a mapping that somebody changes
            return self._by_fields(identity, operation)
        known = self._by_object.young.get((id(identity), operation))
        if known is not None and known[0] is identity:  # else they are of a copy of the policy, with copies of callers
            return known[1]
        by_object = self._by_object  # of before it is asked whether launches are paused
        charges = self._by_fields(identity, operation)
        if self._is_memorable(identity, operation):
            by_object.put((id(identity), operation), (identity, charges), who=(identity.root, operation))
        return charges

    def pause(self, *, paused: bool) -> None:
        """Put all that have a launch back in shadow, or have their stages go on. What was made before is forgotten,
        and what is being made meanwhile goes into what is forgotten."""
        object.__setattr__(self, "_paused", paused)
        object.__setattr__(self, "_recent", Returning())
        object.__setattr__(self, "_by_object", Returning())

    def limits_of(self, identity: Identity) -> tuple[str, ...]:
        """The names of the limits of a caller's tier, whatever operations they are for. LookupError as `charges`."""
        return self._tier_of(identity)[0].names

    def named(self, identity: Identity, names: tuple[str, ...]) -> tuple[Charge, ...]:
        """One unit of each of these limits of the caller's tier, whatever operations they are for, but of those that
        are off. The same tuple again for the same, as of `charges`. KeyError for a name that the tier does not have."""
        tier, identity = self._tier_of(identity)
        attributes = by_value(identity.attributes) if identity.attributes else ()
        asked = names, identity.root, self._telling(identity), attributes
        recent = self._recent
        charges = recent.get(asked) if attributes is not None else None
        if charges is None:
            charges = self._made(identity, [tier.by_name[name] for name in names if name in tier.by_name])
            if attributes is not None and memorable(identity, "".join(names)):
                recent.put(asked, charges)
        return charges

    def _tier_of(self, identity: Identity) -> tuple[Tier, Identity]:
        """And the identity as it counts there."""
        name = self.default_tier if identity.tier is None else identity.tier
        tier = self._compiled.get(name) if name is not None else None
        return (tier, identity) if tier is not None else self._tier_of(self._instead.of(identity))

    def wait_of(self, identity: Identity) -> tuple[str, Wait | None]:
        """The tier that counts for a caller, and how long its denied requests may wait."""
        _, identity = self._tier_of(identity)
        tier = identity.tier or self.default_tier or ""
        return tier, self.waits.get(tier)

    def _by_fields(self, identity: Identity, operation: str) -> tuple[Charge, ...]:
        named = operation if operation in self._named or isinstance(operation, Readings) else None
        if named is None and self._named and operation not in self._operations.names:
            self._operations.tell(operation)
        attributes = by_value(identity.attributes) if identity.attributes else ()
        if attributes is None:
            return self._charges(identity, operation)
        told_apart = identity[:-1] if type(operation) is Routed else self._telling(identity)
        asked = named, identity.root, told_apart, attributes
        recent = self._recent
        charges = recent.get(asked)
        if charges is None:
            charges = self._charges(identity, operation)
            if self._is_memorable(identity, operation):
                recent.put(asked, charges)
        return charges

    def _charges(self, identity: Identity, operation: str) -> tuple[Charge, ...]:
        tier_name = self.default_tier if identity.tier is None else identity.tier
        tier = self._compiled.get(tier_name) if tier_name is not None else None
        if tier is None:
            return self._by_fields(self._instead.of(identity), operation)
        if isinstance(operation, Routed):
            if operation.endpoint.own_usage and not identity.anonymous:
                return ()
            self._operations.tell_of(operation.operations)
        return self._made(identity, counters_of(tier, operation))

    def _made(self, identity: Identity, counters: Sequence[Counter]) -> tuple[Charge, ...]:
        root_kind, root_name = identity.root
        root = f"{{{root_kind}={escaped(root_kind, root_name)}}}"  # all keys of a request are in one slot of a cluster
        tier_name = self.default_tier if identity.tier is None else identity.tier
        overrides = self._matched(identity, tier_name) if self.overrides else ()
        charges = tuple(
            Charge(
                c.limit,
                c.key(root, root_kind, identity),
                c.cost,
                maxes_of(c.limit, overrides, identity.attributes),
                stages_of(c.limit, identity, tier_name, overrides, paused=self._paused),
            )
            for c in counters
        )
        return self._shadows.of(charges) if self._shadows else charges

    def _is_memorable(self, identity: Identity, operation: str) -> bool:
        """Not under a tier that is not there: what is remembered is the tier's in its place, so each request comes by
        where that is told."""
        return (identity.tier is None or identity.tier in self._compiled) and memorable(identity, operation)


def _told_apart_by(tiers: Mapping[str, tuple[Limit, ...]], overrides: Sequence[Override]) -> set[str]:
    """What limits and overrides look at of a caller besides its root and its attributes."""
    per = {kind for limits in tiers.values() for limit in limits for kind in limit.per}
    of_launches = looked_at([limit for limits in tiers.values() for limit in limits])
    return {"tier"}.union(per, of_launches, *[override.match for override in overrides])
