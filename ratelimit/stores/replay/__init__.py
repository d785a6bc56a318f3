"""Decisions on the clock of a log, for one thread: as the memory store makes them, and nothing is forgotten meanwhile.
Read ledger.py first, then counters.py."""

from ratelimit.stores.replay.counters import Counter, InFlight, Quotas, Rates, counter_of
from ratelimit.stores.replay.ledger import Ledger, Row
from ratelimit.stores.replay.tariffs import Plan, Tariff, what

__all__ = ["Counter", "InFlight", "Ledger", "Plan", "Quotas", "Rates", "Row", "Tariff", "counter_of", "what"]
