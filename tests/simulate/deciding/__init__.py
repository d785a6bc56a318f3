"""What a policy says to the requests of a log."""
