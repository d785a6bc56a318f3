"""What a policy would have done to the requests of a log, held against the middleware itself."""
