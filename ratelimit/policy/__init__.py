"""What it costs: (Identity, operation) -> charges, a pure look-up. Read charges.py first, then tiers.py."""

from ratelimit.policy.charges import Elsewhere, OnFailure, Override, Policy, StoreSettings
from ratelimit.policy.waits import Wait
from ratelimit.policy.websocket import OnExcess, WebSocketSettings

__all__ = ["Elsewhere", "OnExcess", "OnFailure", "Override", "Policy", "StoreSettings", "Wait", "WebSocketSettings"]
