"""Units that an app counts by hand, where the store could not be told: never raised into the app, and never unsaid."""

from __future__ import annotations

import logging

from ratelimit.ground.printable import in_a_line
from ratelimit.ground.repeats import Repeats
from ratelimit.ground.words import fields

logger = logging.getLogger("ratelimit")

EVERY = 1.0  # seconds between two lines of a kind

LINES = {
    "charge": "what was used is not counted",
    "refund": "what was to be given back stays counted",
    "settle": "what was used is not counted, and what was held goes back with its lease",
    "hold": "nothing is held, and on_failure decides",
}


class Untold:
    """Of one middleware: of each verb a line at once, then at most one a second with how many there were since."""

    def __init__(self) -> None:
        self._repeats: Repeats[str] = Repeats(EVERY)

    def tell(self, verb: str, limits: str, error: Exception) -> None:
        before = self._repeats.told(verb, verb)
        if before is not None:
            more = f", and {before:,} times since the last line" if before else ""
            of, why = in_a_line(limits), in_a_line(error)
            extra = fields("units_untold", verb=verb, limit=of, more=before, reason=why)
            logger.warning("%s of %s: %s%s: %s", verb, of, LINES[verb], more, why, extra=extra)
