"""Requests that wait a moment instead of a 429, in this process, where a tier says so. Read turns.py first."""
