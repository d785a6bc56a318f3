"""No thread looks at a file here, but where a test gives it one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratelimit.reload import telling, watch


class ByHand:
    """In the place of the thread."""

    def __init__(self) -> None:
        self.added: list[object] = []

    def add(self, step: object) -> None:
        self.added.append(step)


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> ByHand:
    hand = ByHand()
    monkeypatch.setattr(watch, "_ticking", hand)
    telling._counts.clear()
    telling._in_force.clear()
    return hand


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ratelimit.toml"
