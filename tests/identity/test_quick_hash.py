"""The hash that lines are remembered by."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from ratelimit.identity.quick_hash import quick_hash, quickest


def test_what_it_is() -> None:
    """Two lines have two hashes, of bytes that nobody can choose."""
    assert quick_hash(b"a").digest() != quick_hash(b"b").digest()
    assert len(quick_hash(b"a").digest()) >= 32


def test_where_there_is_sha_256_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pythons that keep to FIPS 140 refuse BLAKE2, or have none: then it is SHA-256."""
    assert quickest() is hashlib.blake2b

    def refused(_: bytes) -> Any:
        raise ValueError("disabled for FIPS")

    monkeypatch.setattr(hashlib, "blake2b", refused)
    assert quickest() is hashlib.sha256
    monkeypatch.delattr(hashlib, "blake2b")
    assert quickest() is hashlib.sha256
