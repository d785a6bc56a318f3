"""Lines in the log (logger `ratelimit`): at level DEBUG one for an answer given without the store, and what is said
once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from ratelimit.ground.printable import in_a_line
from ratelimit.ground.repeats import Once
from ratelimit.ground.words import fields
from ratelimit.model import Readings, State

logger = logging.getLogger("ratelimit")

SAID = 1_000  # things that are said once: no more are remembered
_never = Once(SAID)  # limits that can never admit an operation


def can_never_pass(state: State, operation: str) -> None:
    """A request that costs more than the max of a limit, or will before there is room for it."""
    named = "·".join(operation.operations) if isinstance(operation, Readings) else operation  # whatever its units
    if not _never.first(f"{state.limit.name} {in_a_line(named)}"):
        return
    of = in_a_line(operation)
    extra = fields("can_never_pass", limit=state.limit.name, operation=of, cost=state.charge.cost, max=state.max)
    if state.charge.cost <= state.max:
        logger.warning(
            "limit %s has no room for an operation %s before a limit is lowered for good (from, an override's until) "
            "below what it costs: it can never pass; raise that max or lower the cost",
            state.limit.name,
            in_a_line(operation),
            extra=extra,
        )
    else:
        logger.warning(
            "limit %s can never admit an operation %s: it costs %d of a max of %d; raise the max or lower the cost",
            state.limit.name,
            in_a_line(operation),
            state.charge.cost,
            state.max,
            extra=extra,
        )


def without_store(reason: object, operation: str, caller: Callable[[], str], log_id: str, *, allowed: bool) -> None:
    """A request that was let through or refused because the store could not be reached. outage.py counts them."""
    if logger.isEnabledFor(logging.DEBUG):
        verdict = "allowed" if allowed else "refused"
        what = "%s without the store operation=%s log_id=%s caller=%s: %s"
        said = verdict, in_a_line(operation), in_a_line(log_id), caller(), in_a_line(reason)
        names = ("verdict", "operation", "log_id", "caller", "reason")
        extra = fields("without_store", **dict(zip(names, said, strict=True)))
        logger.debug(what, *said, extra=extra)


def bad_policy(error: Exception) -> None:
    """Every problem of a policy file, a line each."""
    logger.critical("%s", error, extra=fields("bad_policy"))


def no_store(where: str, error: Exception) -> None:
    """A store that can't be opened, and who names it."""
    logger.critical("%s: %s", where, error, extra=fields("no_store"))


def bad_mode(error: Exception) -> None:
    """A RATELIMIT_MODE that is none."""
    logger.critical("%s", error, extra=fields("bad_mode"))


def switched(policy: str, mode: str) -> None:
    """What the environment has done to a policy, at each middleware that is built."""
    does = "counts and logs, and denies nobody" if mode == "shadow" else "is off: nothing is counted, nobody is denied"
    extra = fields("switched", mode=mode)
    logger.warning("RATELIMIT_MODE=%s in the environment: %s %s", mode, policy, does, extra=extra)


def unused_settings(origin: str, settings: Mapping[str, object], used: str) -> None:
    """What a policy says of its store, where the middleware has another one: of a URL, or an object. A URL may hold a
    password, and its place may be taken on purpose."""
    words = {
        "url": "store.url",
        "prefix": 'store.prefix = "%s"',
        "timeout_ms": "store.timeout = %s ms",
        "max_callers": "store.max_callers = %s",
    }
    told = [words[name] if name == "url" else words[name] % in_a_line(value) for name, value in settings.items()]
    by_url = used in {"store", "RATELIMIT_STORE_URL"}
    instead = "which comes before it"
    of_object = "made by your code: say it there (prefix=…, timeout=… in seconds), or give a URL; on_failure is used"
    logger.log(
        logging.INFO if [*settings] == ["url"] else logging.WARNING,
        "%s: %s not used, as the store is %s, %s",
        in_a_line(origin.rpartition("#")[0]) or "the policy",
        f"{' and '.join(told)} {'is' if len(told) == 1 else 'are'}",
        f"that of {used}" if by_url else f"a {used}",
        instead if by_url else of_object,
        extra=fields("unused_settings"),
    )


def loaded_twice(origin: str) -> None:
    """Two objects of one file, each with counters of its own in memory."""
    logger.warning(
        "%s is loaded more than once in this process, and each load counts by itself in memory: a caller of both has"
        " every limit twice; load it once, with load_policy, and pass that object to each RateLimitMiddleware",
        in_a_line(origin.rpartition("#")[0]),
        extra=fields("loaded_twice"),
    )


def not_recorded(file: str, error: OSError) -> None:
    """[record]: once for each time that it begins."""
    why = error.strerror or type(error).__name__
    logger.warning(
        "[record]: %s can't be written: %s; requests go on, and are not recorded until it can",
        in_a_line(file),
        why,
        extra=fields("not_recorded", path=in_a_line(file), reason=why),
    )


def recorded_again(file: str, lost: int) -> None:
    what, name = "[record]: %s is written again, %s requests are missing in it", in_a_line(file)
    logger.warning(what, name, f"{lost:,}", extra=fields("recorded_again", path=name, lost=lost))


def not_closed(error: Exception) -> None:
    """At shutdown, when nobody asks any more."""
    logger.warning("the store was not closed: %s", error, extra=fields("not_closed", reason=str(error)))


def telemetry_failed(of: str, method: str, error: Exception) -> None:
    """An error of the app's own telemetry. Once for each method."""
    logger.error(
        "%s.%s raised, and what it was told is not counted; requests go on, and this is logged once: %s",
        in_a_line(of),
        method,
        in_a_line(repr(error)),
        exc_info=error,
        extra=fields("telemetry_failed", method=method),
    )
