"""Rules that are for nothing that the app has: most likely a mistake in writing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache

from ratelimit.checks.values import EXEMPT
from ratelimit.operations.routes import Routes
from ratelimit.operations.rules import WEBSOCKET, Rule
from ratelimit.routes.paths import Segment, Wild, folded_pattern, split_path
from ratelimit.routes.table import Table

TOLD = 20  # rules in one line of the log

_ROUTED = {
    "GET": ("GET",),
    "HEAD": ("GET", "HEAD"),
    **{method: (method,) for method in ("POST", "PUT", "PATCH", "DELETE", WEBSOCKET)},
}

_log = logging.getLogger("ratelimit")


def say_idle(rules: Sequence[Rule], routes: Routes, root_path: str) -> None:
    """One warning that names them; none where a mounted app or a route may take any path that they take."""
    if idle := idle_of(rules, routes, root_path):
        _log.warning(
            "[operations] has rules that match no route of the app: %s%s",
            ", ".join(f'"{rule.method} {rule.path}" ({rule.operation or EXEMPT}{near})' for rule, near in idle[:TOLD]),
            f" and {len(idle) - TOLD} more" if len(idle) > TOLD else "",
        )


def idle_of(rules: Sequence[Rule], routes: Routes, root_path: str = "") -> list[tuple[Rule, str]]:
    """Each with `, did you mean "/v2/invoices"?` where that is near."""
    if not routes.whole or not (idle := _idle(rules, routes, tuple(split_path(root_path)))):
        return []
    shown = sorted({_shown(route.segments) for route in routes.declared})
    return [(rule, _near(rule, shown)) for rule in idle]


def _idle(rules: Sequence[Rule], routes: Routes, root: tuple[str, ...]) -> list[Rule]:
    @cache
    def table(method: str | None, folded: bool) -> Table[bool]:
        patterns = [(*root, *route.segments) for route in routes.declared if route.may_answer(method)]
        return Table((folded_pattern(pattern) if folded else pattern, True) for pattern in patterns)

    below = Table([(folded_pattern((*root, Wild.REST)), True)])  # other apps may go by the same rules elsewhere
    idle = []
    for rule in rules:
        folded = folded_pattern(rule.segments)
        pattern = rule.segments if rule.operation is None else folded
        # Routes answer OPTIONS and methods of an operator's own without saying so: then the path alone is looked at
        methods = _ROUTED.get(rule.method, (None,))
        if below.meets(folded) and not any(table(m, rule.operation is not None).meets(pattern) for m in methods):
            idle.append(rule)
    return idle


def _near(rule: Rule, shown: Sequence[str]) -> str:
    near = get_close_matches(_shown(rule.segments), shown, n=1, cutoff=0.8)
    return f', did you mean "{near[0]}"?' if near and near[0] != _shown(rule.segments) else ""


def _shown(segments: Sequence[Segment]) -> str:
    return "/" + "/".join(s if isinstance(s, str) else "**" if s is Wild.REST else "*" for s in segments)
