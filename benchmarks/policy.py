"""Our policy in the benchmarks: a rate a minute and a quota a month for each of the callers of callers.lua."""

from __future__ import annotations

from hashlib import sha256

RATE = 1_000_000_000  # a minute: more than any run comes near
LONG = 10 * RATE  # a month
CALLERS = 100
WINDOWS = (
    "minute",
    "hour",
    "10 seconds",
    "5 minutes",
    "15 minutes",
    "2 hours",
    "day",
    "30 seconds",
)  # of further rates


def api_key(number: int) -> str:
    """The API key that callers.lua sends for its caller of this number."""
    return f"key-{number}"


def text(
    *,
    rate: int = RATE,
    long: int = LONG,
    style: str = "lendworks",
    reserve: bool = False,
    limits: int = 2,
    timeout: str = "1s",
) -> str:
    """A policy in TOML. The API key of each caller is all that is known of it, so each counts for itself.

    One limit is the rate, the second is the quota, and up to ten all others are rates over the further windows.

    A request that is not decided by the store is a 503: runs with one are thrown away, for it would be a fast one. A
    machine that has too much to do for a tenth of a second is no outage.
    """
    waits = f'timeout = "{timeout}"' if timeout else ""
    more = ", reserve = true" if reserve else ""
    rows = [
        f'{{ name = "requests", rate = "{rate}/minute"{more} }}',
        f'{{ name = "monthly", quota = "{long}/month"{more} }}',
    ]
    rows += [f'{{ name = "over {window}", rate = "{RATE}/{window}"{more} }}' for window in WINDOWS]
    listed = ",\n  ".join(rows[:limits])
    keys = (sha256(api_key(number).encode()).hexdigest() for number in range(CALLERS))
    return f"""
style = "{style}"

[store]
on_failure = "deny"
{waits}

[tiers.anonymous]
limits = [{{ name = "ip", rate = "1/minute" }}]

[tiers.basic]
limits = [
  {listed},
]
""" + "".join(f'\n[[keys]]\nsha256 = "{key}"\ntier = "basic"\n' for key in keys)
