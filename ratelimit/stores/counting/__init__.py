"""What is used, what is left, and when it frees: pure arithmetic, no I/O. Read terms.py first, then window.py."""
