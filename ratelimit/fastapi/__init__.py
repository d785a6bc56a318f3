"""What is of FastAPI alone: the limiter's answers in the OpenAPI document."""

from ratelimit.fastapi.document import document

__all__ = ["document"]
