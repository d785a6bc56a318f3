"""What it costs: (Identity, operation) -> charges, a pure look-up. Read charges.py first, then tiers.py."""

from ratelimit.policy.charges import Policy
from ratelimit.policy.overrides import Elsewhere, Override
from ratelimit.policy.settings import (
    OnExcess,
    OnFailure,
    RecordSettings,
    ReloadSettings,
    StoreSettings,
    Wait,
    WebSocketSettings,
)

__all__ = [
    "Elsewhere",
    "OnExcess",
    "OnFailure",
    "Override",
    "Policy",
    "RecordSettings",
    "ReloadSettings",
    "StoreSettings",
    "Wait",
    "WebSocketSettings",
]
