"""What goes wrong between an API and its store, done to real servers: the faults, and what its callers see."""
