"""One multiplexed connection, on which nobody waits past a deadline. Read link.py first, then inflight.py."""
