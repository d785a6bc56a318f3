"""Concurrent requests share one round trip. Read queue.py first, then batch.py and callers.py."""
