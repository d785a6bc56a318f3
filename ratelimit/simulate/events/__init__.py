"""What passes between the parts of a simulation: requests, who is of them, who watches, and the summary."""

from ratelimit.simulate.events.requests import (
    AT,
    CALL,
    FILE,
    LINE,
    SAID,
    STATUS,
    TOOK,
    WHO,
    Caller,
    Event,
    Observer,
    PairObserver,
    Said,
)
from ratelimit.simulate.events.summary import Replayed, Summary

__all__ = [
    "AT",
    "CALL",
    "FILE",
    "LINE",
    "SAID",
    "STATUS",
    "TOOK",
    "WHO",
    "Caller",
    "Event",
    "Observer",
    "PairObserver",
    "Replayed",
    "Said",
    "Summary",
]
