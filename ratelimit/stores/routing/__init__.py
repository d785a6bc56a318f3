"""Which server decides for a key. Read router.py first, then nodes.py."""
