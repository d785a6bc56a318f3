"""What needs FastAPI."""

from ratelimit.fastapi.control import RateLimit as RateLimit
from ratelimit.fastapi.control import control as control
