"""Our policy in the benchmarks: a rate a minute and a quota a month for each of the callers of callers.lua."""

from __future__ import annotations

from hashlib import sha256

RATE = 1_000_000_000  # a minute: more than any run comes near
LONG = 10 * RATE  # a month
CALLERS = 100


def api_key(number: int) -> str:
    """The API key that callers.lua sends for its caller of this number."""
    return f"key-{number}"


def text(*, rate: int = RATE, long: int = LONG, style: str = "lendworks", reserve: bool = False) -> str:
    """A policy in TOML. The API key of each caller is all that is known of it, so each counts for itself.

    A request that is not decided by the store is a 503: runs with one are thrown away, for it would be a fast one.
    """
    more = ", reserve = true" if reserve else ""
    keys = (sha256(api_key(number).encode()).hexdigest() for number in range(CALLERS))
    return f"""
style = "{style}"

[store]
on_failure = "deny"

[tiers.anonymous]
limits = [{{ name = "ip", rate = "1/minute" }}]

[tiers.basic]
limits = [
  {{ name = "requests", rate = "{rate}/minute"{more} }},
  {{ name = "monthly", quota = "{long}/month"{more} }},
]
""" + "".join(f'\n[[keys]]\nsha256 = "{key}"\ntier = "basic"\n' for key in keys)
