"""Which server decides for a key. Read cluster.py first, then slotmap.py."""
