"""What became of edits: in the log, and counted for metrics."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from shlex import quote
from typing import Literal, get_args

from ratelimit.ground.printable import in_a_line
from ratelimit.ground.words import fields
from ratelimit.policy import Policy
from ratelimit.reload.effect import Effect, Example

logger = logging.getLogger("ratelimit")

Outcome = Literal["taken", "refused", "invalid"]
_OF_STORE = ("url", "prefix", "timeout_ms", "on_failure", "max_callers")
NAMED = 12  # digits of a digest in the log, as much as `sha256sum` is compared by

_counts: Counter[str] = Counter()  # of this process: an app can't reach the middlewares that its framework has made
_in_force: dict[str, str] = {}  # by path
_lock = threading.Lock()


def reloads() -> dict[str, int]:
    """How many edits of policy files this process has seen since it began: "taken"; "refused", as they would deny too
    many callers; "invalid"."""
    with _lock:
        return {**dict.fromkeys(get_args(Outcome), 0), **_counts}


def policies_in_force() -> dict[str, str]:
    """The SHA-256 of the content that is in force, by path, of the policy files that this process watches."""
    with _lock:
        return dict(_in_force)


def in_force(path: str, digest: str) -> None:
    with _lock:
        _in_force[path] = digest


def _count(outcome: Outcome) -> None:
    with _lock:
        _counts[outcome] += 1


def taken(path: str, digest: str, effect: Effect, why: str = "") -> None:
    _count("taken")
    of = f"; it newly denies {_of_callers(effect)}" if effect.callers else ""
    what = "%s was edited, and is in force (sha256 %s)%s%s"
    extra = _fields("policy_taken", path, sha256=digest, newly_denied=effect.denied, callers=effect.callers)
    logger.warning(what, in_a_line(path), digest[:NAMED], why, of, extra=extra)


def refused(path: str, digest: str, effect: Effect, refuse_above: float, *, by_others: bool) -> None:
    _count("refused")
    if by_others or effect.example is None:
        why = "another process on this store has refused it"
    else:
        why = f"it would newly deny {_of_callers(effect)}, refuse_above is {_percent(refuse_above)}; "
        why += _most(effect.example)
    logger.critical(
        "%s was edited, and is REFUSED (sha256 %s): %s. The policy before stays in force. If it is meant, run ratelimit"
        ' reload --accept %s, or write refuse_above = "100%%" under [reload] in it',
        in_a_line(path),
        digest[:NAMED],
        why,
        quote(in_a_line(path)),
        extra=_fields("policy_refused", path, sha256=digest, reason=why),
    )


def invalid(path: str, digest: str, error: Exception) -> None:
    """With every problem, a line each."""
    _count("invalid")
    what = "%s was edited, and can't be used (sha256 %s). The policy before stays in force:\n%s"
    extra = _fields("policy_invalid", path, sha256=digest, reason=in_a_line(error))
    logger.critical(what, in_a_line(path), digest[:NAMED], error, extra=extra)


def failed(path: str) -> None:
    """It is ours, not the file's."""
    what = "%s can't be reloaded: the policy before stays in force"
    logger.exception(what, in_a_line(path), extra=_fields("policy_not_reloaded", path))


def gone(path: str) -> None:
    what = "%s is gone, or can't be read: the policy that was read last stays in force"
    logger.warning(what, in_a_line(path), extra=_fields("policy_gone", path))


def back(path: str) -> None:
    logger.warning("%s can be read again", in_a_line(path), extra=_fields("policy_back", path))


def as_before(path: str) -> None:
    logger.warning("%s is again what is in force", in_a_line(path), extra=_fields("policy_as_before", path))


def not_shared(error: Exception) -> None:
    what, why = "the verdict of other processes on an edited policy is not known: %s", in_a_line(error)
    logger.warning(what, why, extra=fields("verdict_unknown", reason=why))


def began_with_refused(path: str, digest: str) -> None:
    what = "%s (sha256 %s) was refused by others, which run on the policy before, and this process has begun with it"
    logger.warning(
        what, in_a_line(path), digest[:NAMED], extra=_fields("policy_refused_by_others", path, sha256=digest)
    )


def what_waits(path: str, used: Policy, edited: Policy) -> None:
    """What an edited policy says, and only a restart does. The URL of a store may hold a password."""
    waits = [name for name in _OF_STORE if getattr(used.store, name) != getattr(edited.store, name)]
    of = [f"store.{name.removesuffix('_ms')}" for name in waits] + ["record"] * (used.record != edited.record)
    if of:
        what, parts = "%s: what was edited of %s is used after a restart", " and ".join(of)
        logger.warning(what, in_a_line(path), parts, extra=_fields("policy_waits", path, parts=parts))
    if not edited.reload.watch:
        what = "%s has watch = false: from now on what is edited is used after a restart"
        logger.warning(what, in_a_line(path), extra=_fields("policy_unwatched", path))


def _fields(event: str, path: str, **values: object) -> dict[str, object]:
    return fields(event, path=in_a_line(path), **values)


def _of_callers(effect: Effect) -> str:
    """`37 of the 412 callers of the last 5 minutes (8.98 %)`"""
    return f"{effect.denied:,} of the {effect.callers:,} callers of the last 5 minutes ({_percent(effect.share)})"


def _most(one: Example) -> str:
    return f"most of them by limit {one.limit}, as {one.caller}, which needs {one.demand:,} of a max of {one.max:,}"


def _percent(part: float) -> str:
    return f"{100 * part:.3g} %"
