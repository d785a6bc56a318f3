"""Which of the [[keys]] an override is for: found by index, for there may be thousands of both."""

from __future__ import annotations

from collections import defaultdict

from ratelimit.config.grammar.messages import Path
from ratelimit.config.grammar.tables import KeyTable, OverrideTable
from ratelimit.config.grammar.valid import Valid

_Key = tuple[Path, KeyTable, str | None]  # where it is, and its tier
_Pair = tuple[str, str | int]


class Callers:
    """Those that a file knows: its keys, by what an override can match of them."""

    def __init__(self, valid: Valid) -> None:
        self._keys: list[_Key] = []
        self._having: defaultdict[_Pair, list[_Key]] = defaultdict(list)
        self._found: dict[frozenset[_Pair], list[_Key]] = {}
        for path, key in valid.numbered(("keys",), valid.file.keys):
            entry = (path, key, key.tier or valid.file.identity.default_tier)
            self._keys.append(entry)
            for pair in _pairs_of_key(*entry[1:]):
                self._having[pair].append(entry)

    def matched(self, override: OverrideTable) -> list[_Key]:
        """The keys whose callers have every value of the override, from whatever address."""
        pairs = frozenset(_pairs_of_override(override))
        if pairs not in self._found:
            fewest = min((self._having.get(pair, []) for pair in pairs), key=len, default=self._keys)
            self._found[pairs] = [(p, key, tier) for p, key, tier in fewest if pairs <= _pairs_of_key(key, tier)]
        return self._found[pairs]


def _pairs_of_key(key: KeyTable, tier: str | None) -> set[_Pair]:
    has = {"organization": key.organization, "user": key.user, "api_key": key.sha256, "application": key.application}
    pairs = {(kind, name) for kind, name in {**has, "tier": tier}.items() if name is not None}
    return pairs | set(key.attributes.items())


def _pairs_of_override(override: OverrideTable) -> set[_Pair]:
    fields = ("organization", "user", "api_key", "application", "tier")
    return {(kind, name) for kind in fields if (name := getattr(override, kind)) is not None} | set(
        override.attributes.items()
    )
