"""Which server decides for a key. Read router.py first, then single.py and cluster.py."""
