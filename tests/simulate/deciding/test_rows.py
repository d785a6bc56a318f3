"""What the requests of a caller are charged to: counters that its operations share, by their keys."""

from __future__ import annotations

from ratelimit import Identity, parse_policy
from ratelimit.simulate.deciding.rows import Asker, Rows
from ratelimit.simulate.events import Caller
from ratelimit.stores.replay import Ledger, Row

POLICY = """
[identity]
default_tier = "basic"
[tiers.anonymous]
limits = []
[tiers.basic]
limits = [{ name = "requests", rate = "10/minute", per = "user" }]
"""
NOW = 1_772_445_600_000


def test_nobody_to_count_per() -> None:
    """Who has none of what a limit counts per has one counter for all of its operations, also where the first caller
    of all had one."""
    rows = Rows(parse_policy(POLICY), Ledger())

    def made(organization: str, user: str | None, *operations: str) -> list[Row]:
        asker = Asker(Caller(f"organization={organization}", "basic"), Identity(organization, user, tier="basic"))
        return [rows.of(asker, operation, NOW) for operation in operations]

    made("acme", "ana", "search")
    search, create = made("other", None, "search", "create")
    assert search.counters == create.counters
