"""One call, explained."""

from __future__ import annotations

from ratelimit import Policy, hash_api_key, parse_policy
from ratelimit.model import Identity

NOW = 1_772_445_600_000  # 2026-03-02T10:00:00Z

TEXT = f"""
[operations]
exempt = ["GET /health", "* /docs/**"]
heavy  = ["POST /v2/invoices", "DELETE /v2/invoices/{{id}}"]
odd    = ["WEBSOCKET /feed/**"]

[[keys]]
sha256 = "{hash_api_key("one")}"
tier = "basic"
organization = "acme"
user = "ana"
attributes = {{ seats = 3, mode = "test" }}

[[keys]]
sha256 = "{hash_api_key("two").upper()}"
tier = "basic"
organization = "acme"
user = "ben"
attributes = {{ seats = 3, mode = "live" }}

[[keys]]
sha256 = "{hash_api_key("three")}"
tier = "paid"
organization = "both"

[[keys]]
sha256 = "{hash_api_key("four")}"
tier = "basic"
organization = "both"
attributes = {{ seats = 1 }}

[tiers.anonymous]
limits = [{{ name = "ip", rate = "2/minute" }}]

[tiers.basic]
limits = [
  {{ name = "requests", rate = "(10 * seats + 1)/5 minutes", cost = {{ heavy = 5 }} }},
  {{ name = "monthly", quota = "500/month", per = ["organization", "user"] }},
  {{ name = "at once", concurrency = 2 }},
  {{ name = "soon", rate = "1/minute", from = 2026-03-03T00:00:00Z, operations = ["heavy"] }},
  {{ name = "tried", rate = "1/minute", mode = "shadow", operations = ["heavy"] }},
  {{ name = "gone", rate = "1/minute", mode = "off" }},
  {{ name = "hand", rate = "1/minute", operations = [] }},
]

[tiers.paid]
limits = [{{ name = "requests", rate = "100/minute" }}]

[[overrides]]
organization = "acme"
limits = {{ monthly = "700/month" }}
until = 2026-04-01T00:00:00Z

[[overrides]]
organization = "acme"
attributes = {{ mode = "test" }}
limits = {{ monthly = "900/month" }}
until = 2026-03-10T00:00:00Z
"""


def policy(more: str = "", text: str = TEXT) -> Policy:
    return parse_policy(more + text, "test.toml")


def own_identify(scope: object) -> Identity:
    return Identity(user="ana", tier="paid")
