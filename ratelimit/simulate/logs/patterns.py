"""Formats of one's own: an expression with named groups, or a line as nginx's `log_format` has it."""

from __future__ import annotations

import re

from ratelimit.ground.words import shown
from ratelimit.simulate.logs.formats import Format

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
# What variables of nginx stand for; of others the name is the group's.
_GROUPS = {
    "remote_addr": "ip",
    "remote_user": "user",
    "time_local": "time",
    "time_iso8601": "time",
    "msec": "time",
    "request": "call",
    "request_method": "method",
    "request_uri": "path",
    "uri": "path",
    "status": "status",
    "request_time": "duration_s",
}
_CALL = r'(?P<call>[A-Za-z]+ [^ ?"]+)[^"]*'


class PatternError(ValueError):
    """A pattern that can't be read: a sentence."""


def pattern(text: str) -> Format:
    """Its format. PatternError says what is wrong with it."""
    expression = text if "(?P<" in text else _of_variables(text)
    try:
        groups = set(re.compile(expression.encode()).groupindex)
    except (re.error, RecursionError, OverflowError) as error:
        raise PatternError(f"--pattern is no regular expression: {error}") from None
    if "request" in groups:
        raise PatternError("--pattern: the request is the group call, as GET /path, or the groups method and path")
    missing = [what for what in ("time",) if what not in groups]
    if "call" not in groups and not {"method", "path"} <= groups:
        missing.append("call (GET /path), or method and path")
    if missing:
        raise PatternError(f"--pattern {shown(text)} has no {' and no '.join(missing)}")
    return Format("pattern", expression.encode(), ends="ended" not in groups)


def _of_variables(text: str) -> str:
    """Each variable takes what is before the next character of the pattern."""
    made, at, seen = "", 0, set()
    for found in _VARIABLE.finditer(text):
        made += re.escape(text[at : found.start()])
        at = found.end()
        name = found[1] or found[2]
        group = _GROUPS.get(name, name)
        after = text[at : at + 1]
        if group in seen:
            made += _until(after)
        elif group == "call":
            made += _CALL
        elif group == "path":
            made += rf"(?P<path>[^?{re.escape(after)}]+){_until(after)}" if after else r"(?P<path>[^ ?]+)"
        else:
            made += f"(?P<{group}>{_until(after)})"
        seen.add(group)
    return made + re.escape(text[at:])


def _until(after: str) -> str:
    if not after:
        return ".*"
    return r'(?:[^"\\]|\\.)*' if after == '"' else rf"[^{re.escape(after)}]*"
