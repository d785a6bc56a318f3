"""Rate limits, quotas and concurrency caps for ASGI APIs. The public names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ratelimit.control.control import Control
from ratelimit.endpoints.listing import RouteLimits, routes_of
from ratelimit.identity import hash_api_key, identify_user
from ratelimit.launches.stages.launch import Brownout, Cohort, Launch
from ratelimit.log.ids import log_id
from ratelimit.log.outage import requests_without_store
from ratelimit.middleware import RateLimitMiddleware
from ratelimit.model import (
    Answer,
    Charge,
    Concurrency,
    Decision,
    Hold,
    Identity,
    Lease,
    Limit,
    Quota,
    Rate,
    State,
    Store,
    StoreUnavailable,
    Style,
)
from ratelimit.policy import Policy, Wait
from ratelimit.routes.marks import as_operation, operation
from ratelimit.stores import open_store
from ratelimit.stores.memory import MemoryStore

if TYPE_CHECKING:
    from ratelimit.config import PolicyError, json_schema, load_policy, parse_policy
    from ratelimit.stores.redis import RedisStore

__all__ = [
    "Answer",
    "Brownout",
    "Charge",
    "Cohort",
    "Concurrency",
    "Control",
    "Decision",
    "Hold",
    "Identity",
    "Launch",
    "Lease",
    "Limit",
    "MemoryStore",
    "Policy",
    "PolicyError",
    "Quota",
    "Rate",
    "RateLimitMiddleware",
    "RedisStore",
    "RouteLimits",
    "State",
    "Store",
    "StoreUnavailable",
    "Style",
    "Wait",
    "as_operation",
    "hash_api_key",
    "identify_user",
    "json_schema",
    "load_policy",
    "log_id",
    "open_store",
    "operation",
    "parse_policy",
    "requests_without_store",
    "routes_of",
]

# A config file needs pydantic, a quarter of a second of imports, and Redis needs redis-py: not before they are used.
_LAZY = {
    "PolicyError": "ratelimit.config",
    "RedisStore": "ratelimit.stores.redis",
    "json_schema": "ratelimit.config",
    "load_policy": "ratelimit.config",
    "parse_policy": "ratelimit.config",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'ratelimit' has no attribute {name!r}")
