"""One multiplexed connection, on which nobody waits past a deadline: read link.py, then inflight.py and breaker.py."""
