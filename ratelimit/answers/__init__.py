"""What is answered: the denial, or the app's response with headers. Read headers.py first."""
