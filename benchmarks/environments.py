"""One virtualenv a peer, since their packages exclude one another; with every version as requirements/ pins it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
REQUIREMENTS = FOLDER / "requirements"
PLACE = FOLDER / ".venvs"  # not in git
OURS = "ratelimit"  # the bare app and ours: the same packages as the peers', without any of them


def python(name: str) -> Path:
    """The interpreter of a peer's environment, which is made first if it is not there as its file says."""
    place = PLACE / name
    program, ready = place / "bin" / "python", place / "ready"
    wanted = f"Python {sys.version}\n{requirements(name)}"
    if ready.exists() and ready.read_text() == wanted:
        return program
    print(f"making the environment of {name}", file=sys.stderr)
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    pip = [str(program), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    install = [*pip, "install", "-r", str(REQUIREMENTS / f"{name}.txt")]
    done = subprocess.run(install, env=_outside(), check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"the environment of {name} could not be made:\n{done.stderr}")
    ready.write_text(wanted)
    return program


def requirements(name: str) -> str:
    """The lines that pin a peer and everything that it brings."""
    return (REQUIREMENTS / f"{name}.txt").read_text()


def versions(name: str) -> dict[str, str]:
    """Packages of a peer's environment, with their versions."""
    return dict(line.split("==") for line in requirements(name).splitlines() if "==" in line)


def _outside() -> dict[str, str]:
    """The environment of this process without what would show its own packages to another Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
