"""A limit that is launched: what its stages are, whom it would have denied, and how it is stopped."""
