"""Slots of concurrency limits, held by this process: holding.py for one request, renewals.py for one event loop."""
