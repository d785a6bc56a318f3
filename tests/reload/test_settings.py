"""What a program says of reloading by hand is checked, as a file is."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimit.policy import ReloadSettings


@pytest.mark.parametrize("refuse_above", [0, 0.0, 0.5, 1])
def test_parts(refuse_above: float) -> None:
    """From nobody to everybody."""
    assert ReloadSettings(refuse_above=refuse_above).refuse_above == refuse_above


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"watch": "no"}, 'ReloadSettings: watch: "no" is not true or false'),
        *(
            ({"refuse_above": value}, f"ReloadSettings: refuse_above: {shown} is not a part of all; write 0.01 for 1 %")
            for value, shown in ((1.5, "1.5"), (-1, "-1"), ("1%", '"1%"'), (True, "true"))
        ),
    ],
)
def test_what_is_wrong(given: dict[str, Any], said: str) -> None:
    """A ValueError says what."""
    with pytest.raises(ValueError, match="ReloadSettings") as error:
        ReloadSettings(**given)
    assert str(error.value) == said
