"""What a store's user may not do, said at the start: each command of the scripts is tried on keys of its own."""

from __future__ import annotations

import logging

from ratelimit.ground.printable import in_a_line
from ratelimit.ground.repeats import Once
from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.breaker import Trial
from ratelimit.stores.connection.errors import ADVICE
from ratelimit.stores.connection.socket import Reply
from ratelimit.stores.lua.scripts import Scripts, refused

logger = logging.getLogger("ratelimit")

_said = Once()


def trial_of_rights(scripts: Scripts, prefix: str) -> Trial:
    """Of every connection; what is missing is said once, and speaks against nobody who does not need it. On a cluster
    the node answers that has the slot of these keys."""
    return Trial(lambda: scripts.trying(prefix), _tell)


def _tell(reply: Reply) -> None:
    if isinstance(reply, StoreUnavailable):  # so will be the reply to a decision, which tells why
        return
    missing = {command: why for command, why in refused(reply).items() if _of_rights(why)}
    names = ", ".join(missing)
    if missing and _said.first(names):
        why = in_a_line(next(iter(missing.values())))
        logger.error("the store's scripts can't call %s: %s (%s)", names, why, ADVICE["NOPERM"])


def _of_rights(why: str) -> bool:
    """And not of memory, or of a full disk."""
    word = why.partition(" ")[0].lstrip("-")
    return word == "NOPERM" or word not in ADVICE
