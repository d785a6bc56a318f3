"""Faults, one after the other, for as long as it is left on: `make soak`. What must not grow is watched."""
