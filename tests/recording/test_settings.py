"""What a program says of a record by hand is checked as a file is, in its words."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimit.policy import RecordSettings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"file": " "}, "file: is blank"),
        ({"sample": 0}, "sample: 0 is not a share of the callers"),
        ({"sample": True}, "sample: true is not a number"),
        ({"max_bytes": 99_999}, "max_bytes: 99999 is out of range"),
        ({"max_bytes": True}, "max_bytes: true is out of range"),
        ({"keep": 1_001}, "keep: 1001 is too large; the most is 1000"),
    ],
)
def test_wrong(settings: dict[str, Any], said: str) -> None:
    """Each field says what is wrong with it."""
    with pytest.raises(ValueError, match=f"RecordSettings: {said}"):
        RecordSettings(**{"file": "calls.jsonl", **settings})
