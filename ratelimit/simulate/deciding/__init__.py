"""What a policy says to the requests of a log. Read replay.py first, then callers.py and calls.py."""
