"""What needs FastAPI: dependencies of endpoints, and the limiter's answers in the OpenAPI document."""

from ratelimit.control.deferred import deferred
from ratelimit.fastapi.control import RateLimit, control
from ratelimit.fastapi.deciding import decide
from ratelimit.fastapi.document import document
from ratelimit.fastapi.limits import limit
from ratelimit.fastapi.usage import usage_router

__all__ = ["RateLimit", "control", "decide", "deferred", "document", "limit", "usage_router"]
