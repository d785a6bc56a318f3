"""The lines in the log (logger `ratelimit`): one for a denial, and at level DEBUG one for an answer
given without the store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from ratelimit.keys import caller as caller_of
from ratelimit.lines import in_a_line
from ratelimit.model import Decision, Identity, State, StoreUnavailable

logger = logging.getLogger("ratelimit")

SAID = 1_000  # things that are said once: no more are remembered
_said: set[str] = set()


def report(
    decision: Decision, failure: StoreUnavailable | None, operation: str, identity: Identity, log_id: str
) -> None:
    """What there is to say in the log."""
    if failure:
        without_store(failure, operation, partial(caller_of, identity), log_id, allowed=decision.allowed)
    elif state := decision.denying:
        denied(state, operation, partial(caller_of, identity), log_id)
    else:
        for state in decision.states:
            if state.shadow and state.exceeded:
                would_deny(state, operation, partial(caller_of, identity), log_id)


def denied(state: State, operation: str, caller: Callable[[], str], log_id: str) -> None:
    """A 429 because of one limit. `caller` makes a reference that is not the API key; it is called for a line alone."""
    _limit("denied", state, operation, caller, log_id)
    if state.retry_after_ms is None and _first_time(f"{state.limit.name} {in_a_line(operation)}"):
        logger.warning(
            "limit %s can never admit an operation %s: it costs %d of a max of %d; raise the max or lower the cost",
            state.limit.name,
            in_a_line(operation),
            state.charge.cost,
            state.max,
        )


def would_deny(state: State, operation: str, caller: Callable[[], str], log_id: str) -> None:
    """A request that a limit in shadow would have denied."""
    _limit("would deny", state, operation, caller, log_id)


def without_store(reason: object, operation: str, caller: Callable[[], str], log_id: str, *, allowed: bool) -> None:
    """A request that was let through or refused because the store could not be reached. outage.py counts them."""
    if logger.isEnabledFor(logging.DEBUG):
        verdict = "allowed" if allowed else "refused"
        what = "%s without the store operation=%s log_id=%s caller=%s: %s"
        logger.debug(what, verdict, in_a_line(operation), in_a_line(log_id), caller(), in_a_line(reason))


def bad_policy(error: Exception) -> None:
    """Every problem of a policy file, a line each."""
    logger.critical("%s", error)


def no_store(where: str, error: Exception) -> None:
    """A store that can't be opened, and who names it."""
    logger.critical("%s: %s", where, error)


def not_closed(error: Exception) -> None:
    """At shutdown, when nobody asks any more."""
    logger.warning("the store was not closed: %s", error)


def _limit(verdict: str, state: State, operation: str, caller: Callable[[], str], log_id: str) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    wait = "never" if state.retry_after_ms is None else f"{state.retry_after_ms / 1000:.3f}s"
    logger.info(
        "%s operation=%s limit=%s wait=%s log_id=%s caller=%s",
        verdict,
        in_a_line(operation),
        state.limit.name,
        wait,
        in_a_line(log_id),
        caller(),
    )


def _first_time(about: str) -> bool:
    if about in _said or len(_said) >= SAID:
        return False
    _said.add(about)
    return True
