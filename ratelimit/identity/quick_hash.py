"""The quickest of Python's own hashes without known collisions, for what is remembered and must not be in clear.

SHA-256 is OpenSSL's in hashlib, which makes and frees a context of its own for each: 0.6 µs among other code, where
BLAKE2, which is never OpenSSL's, takes 0.15.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any


def quickest() -> Callable[[bytes], Any]:
    """BLAKE2, or SHA-256 where a Python that keeps to FIPS 140 has no other."""
    try:
        hashlib.blake2b(b"")
    except (AttributeError, ValueError):
        return hashlib.sha256
    return hashlib.blake2b


quick_hash = quickest()
