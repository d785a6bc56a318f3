"""What it costs: (Identity, operation) -> charges, a pure look-up. Read charges.py first, then tiers.py."""

from ratelimit.policy.charges import Elsewhere, OnFailure, Override, Policy, StoreSettings

__all__ = ["Elsewhere", "OnFailure", "Override", "Policy", "StoreSettings"]
