"""The command `ratelimit`, of the extra `cli`."""
