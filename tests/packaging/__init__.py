"""The outside of the house: what is built, what is installed, and which way imports go."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
