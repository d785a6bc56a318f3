"""What the memory store keeps, in little memory and without pauses: record.py is how, table.py and kept.py take it out
and put it back, callers.py bounds it, forgetting.py drops it, prepared.py is the way of who comes again soon."""
