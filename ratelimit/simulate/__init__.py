"""What a policy would have done to the requests of access logs. Read run.py first, then replay.py and logs/."""
