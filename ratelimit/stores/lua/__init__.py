"""What runs inside the server, and how it is called. Read scripts.py first, then acquire."""
