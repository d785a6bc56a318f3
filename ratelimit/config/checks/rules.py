"""What the rules of [operations] say of each other, and whether their methods and names are what was meant."""

from __future__ import annotations

from collections.abc import Iterator

from ratelimit.checks.values import BUILT_IN, EXEMPT
from ratelimit.config.checks.methods import KNOWN, meant
from ratelimit.config.checks.shadowed import Earlier
from ratelimit.config.grammar.messages import Path, Problem, place
from ratelimit.config.grammar.valid import Valid
from ratelimit.ground.words import shown
from ratelimit.operations import Rule


def check_rules(valid: Valid) -> Iterator[Problem]:
    yield from _check_names(valid)
    first: dict[tuple[object, ...], Path] = {}
    earlier = Earlier()
    for name, texts in valid.file.operations.items():
        for path, text in valid.numbered(("operations", name), texts):
            rule = Rule.parse(text, name)
            yield from _check_method(path, rule)
            matched = (rule.method, *rule.segments)
            same = first.setdefault(matched, path)
            if same != path:
                why = f"{place(same)} comes first and takes the same; leave one of them out"
                yield Problem(path, f"{shown(text)} never matches: {why}")
            elif covering := earlier.covering(rule):
                why = f"{place(covering)} comes first and takes all of it; write it above that one, or leave it out"
                yield Problem(path, f"{shown(text)} never matches: {why}", odd="rule-never-matches")
            else:
                earlier.add(rule, path)


def _check_names(valid: Valid) -> Iterator[Problem]:
    """Names go by their capitals too: "Exempt" exempts nothing, and a limit of "search" counts no "Search"."""
    known = {name.lower(): name for name in (EXEMPT, *BUILT_IN)}
    names = () if ("operations",) in valid.dropped else valid.at(("operations",)) or ()
    for name in names:
        other = known.setdefault(name.lower(), name)
        if other != name:
            advice = f"differs from {shown(other)} in its capitals alone; write {shown(other)}, or another word"
            yield Problem(("operations", name), advice)


def _check_method(path: Path, rule: Rule) -> Iterator[Problem]:
    if rule.method == "*" or rule.method in KNOWN:
        return
    if near := meant(rule.method):
        yield Problem(path, f'{shown(rule.method)} is no HTTP method; did you mean "{near}"?')
    else:
        why = "is not among the HTTP methods that IANA registers, so only requests with just that word are meant"
        yield Problem(path, f"{shown(rule.method)} {why}", odd="method-unknown")
