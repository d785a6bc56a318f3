"""Other maxes for some callers, and how those of a caller are found among thousands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ratelimit.checks import made
from ratelimit.ground.words import one_of, shown
from ratelimit.model import FOREVER, IDENTITY_KINDS, Identity, Limit, Quota, Rate
from ratelimit.policy.keys import value_of

Values = tuple[str | int | None, ...]
_Max = Callable[[Mapping[str, str | int]], int]


@dataclass(frozen=True, slots=True)
class Override:
    """Other maxes for the callers that have every value of `match`, or another mode.

    `match` goes by organization, user, api_key (its SHA-256 in hexadecimal), application, ip, tier, and by attributes
    under their own names. `maxes` are by name of limit. With a `mode` these limits, and those that `limits` names, are
    enforced or in shadow whatever they and their launch say. The store's clock begins an override at `from_ms` and ends
    it at `until_ms`. `reason` is for people.
    """

    match: Mapping[str, str | int] = field(repr=False)
    maxes: Mapping[str, _Max]
    until_ms: int = FOREVER
    from_ms: int = 0
    mode: Literal["enforce", "shadow"] | None = None
    limits: frozenset[str] = frozenset()  # besides those of `maxes`
    reason: str = ""

    def __post_init__(self) -> None:
        if not self.match:
            raise ValueError("an override needs something to match; to change a limit for everybody, change the limit")
        object.__setattr__(self, "match", made.matched("Override", self.match))
        made.override(self)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What an override says of a limit that no tier has: one that an endpoint may declare. `written` at `where` is
    `5000/minute`, which can be a rate of `window_ms`, and a quota of `period`; neither is a number at a time."""

    where: str
    name: str
    written: str | int | None  # None: it only has a mode of it
    window_ms: int | None
    period: str | None

    def wrong(self, declared: Mapping[str, Limit]) -> str | None:
        """What is wrong with it, by the limits that endpoints declare."""
        limit = declared.get(self.name)
        if limit is None:
            return f"no tier has such a limit, and no endpoint declares one{one_of(self.name, declared)}"
        kind = limit.kind
        if self.written is None:
            return None
        if isinstance(kind, Rate):
            fits = self.window_ms == kind.window_ms
        elif isinstance(kind, Quota):
            fits = self.period == kind.period
        else:
            fits = self.window_ms is None and self.period is None
        if fits:
            return None
        return (
            f"{shown(self.written)} does not fit the limit that an endpoint declares: an override changes the max alone"
        )


class Matched:
    """Called with a caller and the tier that holds for it, returns the overrides that match it, the last first.

    Overrides that match the same kinds of things, `organization` and the attribute `mode`, are a group, in which one
    look-up with what the caller has of these finds its own. A group that needs attributes is only looked at for callers
    who have the rarest of them, so that as many groups as there are overrides cost nothing.
    """

    def __init__(self, overrides: Sequence[Override]) -> None:
        groups: dict[tuple[str, ...], _Group] = {}
        for position, override in enumerate(overrides):
            kinds = tuple(sorted(override.match))
            groups.setdefault(kinds, _Group(kinds)).add(position, override)
        needed = Counter(name for kinds in groups for name in _attributes(kinds))
        self._by_attribute: dict[str, list[_Group]] = {}
        self._of_anybody: list[_Group] = []
        for kinds, group in groups.items():
            rarest = min(_attributes(kinds), key=lambda name: needed[name], default=None)
            if rarest is None:
                self._of_anybody.append(group)
            else:
                self._by_attribute.setdefault(rarest, []).append(group)

    def __call__(self, identity: Identity, tier: str | None) -> list[Override]:
        groups = self._of_anybody
        if self._by_attribute and identity.attributes:
            groups = groups + [group for name in identity.attributes for group in self._by_attribute.get(name, ())]
        found = [numbered for group in groups for numbered in group.of(identity, tier)]
        if len(found) > 1:
            found.sort(key=lambda numbered: -numbered[0])
        return [override for _, override in found]


class _Group:
    """Overrides that match the same kinds, by their values, with their positions."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self._kinds = kinds
        self._by_values: dict[Values, list[tuple[int, Override]]] = {}

    def add(self, position: int, override: Override) -> None:
        values = tuple([override.match[kind] for kind in self._kinds])
        self._by_values.setdefault(values, []).append((position, override))

    def of(self, identity: Identity, tier: str | None) -> Sequence[tuple[int, Override]]:
        values = tuple([tier if kind == "tier" else value_of(identity, kind) for kind in self._kinds])
        try:
            return self._by_values.get(values, ())
        except TypeError:  # an attribute of the user's that is a list, say: no override has that
            return ()


def _attributes(kinds: Sequence[str]) -> Iterator[str]:
    return (kind for kind in kinds if kind != "tier" and kind not in IDENTITY_KINDS)
