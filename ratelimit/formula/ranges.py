"""Arithmetic over ranges of whole numbers: what a sum or a product can come to, where an attribute can be anything.

A range is its least and its most, both included; an infinity is no end. It may be wider than what is possible (the two
`registers` of `registers - registers` are not known to be one), and is never narrower.
"""

from __future__ import annotations

from math import inf

End = int | float  # a whole number of any length, or an infinity
Range = tuple[End, End]


def total(left: Range, right: Range) -> Range:
    return _sum(left[0], right[0]), _sum(left[1], right[1])


def difference(left: Range, right: Range) -> Range:
    return total(left, (-right[1], -right[0]))


def product(left: Range, right: Range) -> Range:
    """Its ends are products of the ends."""
    ends = [_product(a, b) for a in left for b in right]
    return min(ends), max(ends)


def _sum(a: End, b: End) -> End:
    """Python makes a float of a number beside an infinity, which a long one does not fit in."""
    return next((end for end in (a, b) if isinstance(end, float)), a + b)


def _product(a: End, b: End) -> End:
    if not a or not b:
        return 0  # also 0 times no end
    if isinstance(a, float) or isinstance(b, float):
        return inf if (a > 0) == (b > 0) else -inf
    return a * b
