"""What machines are compared by."""

from __future__ import annotations

from hashlib import sha256


def yardstick() -> str:
    """Plain Python that never changes: some arithmetic, a dict, a digest."""
    squares = {str(number): number * number for number in range(30)}
    return sha256("".join(squares).encode()).hexdigest()
