"""What needs FastAPI."""

from ratelimit.control.deferred import deferred as deferred
from ratelimit.fastapi.control import RateLimit as RateLimit
from ratelimit.fastapi.control import control as control
from ratelimit.fastapi.deciding import decide as decide
