"""Rate limits, quotas and concurrency caps for ASGI APIs."""
