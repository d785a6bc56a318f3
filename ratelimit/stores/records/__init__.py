"""What the memory store keeps, in little memory and without pauses. Read record.py first, then table.py, callers.py."""
