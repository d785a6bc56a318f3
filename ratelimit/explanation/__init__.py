"""What becomes of one call, and why: as data. Read whole.py first, then caller.py, operation.py and limits.py."""
