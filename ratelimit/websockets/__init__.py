"""WebSockets: the handshake, which is a request, and what is charged for messages. Read handshake.py first."""
