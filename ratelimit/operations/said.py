"""What a route is by its own path, without a request: for the list by route."""

from __future__ import annotations

import re

from ratelimit.operations.classify import ClassifyByRules
from ratelimit.operations.items import COLLECTION, ITEM
from ratelimit.routes.paths import split_path

_ANY = "\0"  # a segment that no rule spells out
_TAKES_ANY = re.compile(r"\{[^}]*:path\}").search


def said_of(rules: ClassifyByRules, method: str, path: str, own: str) -> tuple[bool, str | None, str]:
    """Whether a rule takes it, the operation, and what tells: of a path of which `own` is that in its router."""
    rule = rules.rule_of(method, [_ANY if "{" in text else text for text in split_path(path)])
    if rule is not None:
        return True, rule.operation, "rule"
    if method not in ("GET", "HEAD"):
        return False, rules.shape_of(method), "shape"
    end = own.rstrip("/").rpartition("/")[2]
    if _TAKES_ANY(end):
        return False, COLLECTION, "guess"
    return False, ITEM if "{" in end else COLLECTION, "shape"
