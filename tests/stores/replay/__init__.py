"""Decisions on the clock of a log."""
