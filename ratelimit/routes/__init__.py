"""What an app declares: its routes, and what is said at its endpoints. Read marks.py first, then tree.py."""
