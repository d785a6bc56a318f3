"""The arithmetic of a max. parse.py reads and computes it; ranges.py tells what it can come to."""

from ratelimit.formula.parse import MAX_DEPTH, MAX_LENGTH, Formula, OutOfRangeError, parse_formula

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "Formula", "OutOfRangeError", "parse_formula"]
