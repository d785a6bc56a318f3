"""The lines in the log (logger `ratelimit`): one for a denial, one for an answer given without the store."""

from __future__ import annotations

import logging

from ratelimit.model import Decision, State

logger = logging.getLogger("ratelimit")

SAID = 1_000  # things that are said once: no more are remembered
_said: set[tuple[str, str]] = set()


def denied(decision: Decision, operation: str, caller: str, log_id: str) -> None:
    """A 429. `caller` is a reference that is not the API key."""
    if state := decision.denying:
        logger.info(
            "denied operation=%s limit=%s wait=%s log_id=%s caller=%s",
            operation,
            state.limit.name,
            _wait(state),
            log_id,
            caller,
        )
        if state.retry_after_ms is None and _first_time("never", f"{state.limit.name} {operation}"):
            logger.warning(
                "limit %s can never admit an operation %s: it costs %d of a max of %d; raise the max or lower the cost",
                state.limit.name,
                operation,
                state.charge.cost,
                state.max,
            )


def shadows(decision: Decision, operation: str, caller: str, log_id: str) -> None:
    """Limits in shadow that would have denied."""
    for state in decision.states:
        if state.shadow and state.exceeded:
            logger.info(
                "would deny operation=%s limit=%s wait=%s log_id=%s caller=%s",
                operation,
                state.limit.name,
                _wait(state),
                log_id,
                caller,
            )


def without_store(reason: object, operation: str, caller: str, log_id: str, *, allowed: bool) -> None:
    """A request that was let through or refused because the store could not be reached."""
    verdict = "allowed" if allowed else "refused"
    logger.warning(
        "%s without the store operation=%s log_id=%s caller=%s: %s", verdict, operation, log_id, caller, reason
    )


def _wait(state: State) -> str:
    return "never" if state.retry_after_ms is None else f"{state.retry_after_ms / 1000:.3f}s"


def _first_time(what: str, about: str) -> bool:
    if (what, about) in _said or len(_said) >= SAID:
        return False
    _said.add((what, about))
    return True
