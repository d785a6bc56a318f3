from __future__ import annotations

from itertools import count

import pytest

_numbers = count()


@pytest.fixture
def prefix() -> str:
    return f"control{next(_numbers)}"
