"""What is for FastAPI alone: dependencies."""

from ratelimit.fastapi.limits import limit

__all__ = ["limit"]
