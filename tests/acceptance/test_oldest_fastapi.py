"""The routes are read as well on the oldest FastAPI allowed, which copies those of a router that it includes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import missing

PYTEST = [sys.executable, "-m", "pytest", "-q"]
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = Path(sys.prefix) / "oldest"
AROUND = (
    "tests/routes",
    "tests/acceptance/test_list_by_route.py",
    "tests/acceptance/test_operations_at_the_endpoint.py",
    "tests/acceptance/test_limits_in_code.py",
    "tests/acceptance/test_units_of_a_request.py",
)


@pytest.mark.proof
def test_on_the_oldest() -> None:
    """The app of 60 routes, its list and what each is charged, and all that endpoints may say."""
    oldest = re.search(r'"fastapi>=([0-9.]+)"', (ROOT / "pyproject.toml").read_text())
    assert oldest is not None
    if not (PACKAGES / "fastapi").is_dir():
        missing(f"no FastAPI {oldest[1]} in {PACKAGES}: `make proofs` puts it there")
    paths = [str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    version = [sys.executable, "-c", "import fastapi; print(fastapi.__version__)"]
    found = subprocess.run(version, check=True, capture_output=True, text=True, env=environment, cwd=PACKAGES)
    assert found.stdout.startswith(f"{oldest[1]}."), found
    ran = subprocess.run(
        [*PYTEST, "-p", "no:xdist", "-p", "no:cacheprovider", "-W", "default", "-m", "not proof", *AROUND],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        cwd=ROOT,
    )
    assert ran.returncode == 0, ran.stdout
