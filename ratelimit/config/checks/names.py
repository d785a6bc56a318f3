"""Names that differ in their capitals alone: the same name to who reads them, two names to the policy."""

from __future__ import annotations

from collections.abc import Iterator

from ratelimit.config.checks.limits import written_limits
from ratelimit.config.grammar.messages import Path, Problem, place
from ratelimit.config.grammar.valid import Valid
from ratelimit.ground.words import shown


def check_names(valid: Valid) -> Iterator[Problem]:
    """Of tiers, and of limits: in whatever tiers they are, those of one name share a counter and an override."""
    tiers: list[tuple[Path, str]] = [(("tiers", name), name) for name in valid.file.tiers]
    limits: list[tuple[Path, str]] = [
        (("tiers", tier, "limits", index, "name"), str(limit.get("name")))
        for tier in valid.file.tiers
        for index, limit in enumerate(written_limits(valid, tier))
    ]
    for named in (tiers, limits):
        yield from _nearly_the_same(named)


def _nearly_the_same(named: list[tuple[Path, str]]) -> Iterator[Problem]:
    first: dict[str, tuple[Path, str]] = {}
    for path, name in named:
        there, other = first.setdefault(name.lower(), (path, name))
        if name != other:
            what = f"{shown(name)} is another name than {shown(other)} at {place(there)}"
            yield Problem(path, f"{what}; write both alike, or another word", odd="names-nearly-alike")
