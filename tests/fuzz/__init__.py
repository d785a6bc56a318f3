"""Hostile input, a file for each way in. `make test` tries a little, always the same; `make fuzz` much, at random.

Inputs are valid ones with edits, since noise is refused at the first byte. What was found by a run is an `example`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import process_time
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("RATELIMIT_FUZZ_EXAMPLES", "0"))  # of each test; 0 is the short run

fuzzed = settings(
    max_examples=EXAMPLES or 60,
    derandomize=not EXAMPLES,
    database=settings.default.database if EXAMPLES and settings.default else None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@st.composite
def edited(draw: st.DrawFn, valid: st.SearchStrategy[Any], pieces: list[Any], most: int = 4) -> Any:
    """A valid text, or bytes, or a list, after some edits: a piece put in, a part left out, doubled or turned round."""
    text = draw(valid)
    for _ in range(draw(st.integers(0, most))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 20)))
        part = text[start:end]
        change = draw(st.sampled_from(["insert", "replace", "drop", "double", "reverse"]))
        if change in ("insert", "replace"):
            put = draw(st.sampled_from(pieces))
            text = text[:start] + put + text[start if change == "insert" else end :]
        else:
            text = text[:start] + {"drop": part[:0], "double": part * 2, "reverse": part[::-1]}[change] + text[end:]
    return text


def grows_linearly(work: Callable[[Any], object], make: Callable[[int], Any], n: int) -> bool:
    """Whether four times the input takes at most eight times as long: 4 is linear, 16 is the square.

    By the clock of this process, which does not run while others do; what is done within 5 ms is forgiven. Where once
    does not show it, the least of several runs is taken, and that up to three times.
    """
    small, large = make(n), make(4 * n)
    return any(_least(work, large, runs) <= 8 * _least(work, small, runs) + 0.005 for runs in (1, 3, 3, 3))


def _least(work: Callable[[Any], object], argument: Any, runs: int) -> float:
    taken = []
    for _ in range(runs):
        began = process_time()
        work(argument)
        taken.append(process_time() - began)
    return min(taken)
