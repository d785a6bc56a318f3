"""One virtualenv a peer and Python, since their packages exclude one another; with every version as requirements/ pins
it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
REQUIREMENTS = FOLDER / "requirements"
PLACE = FOLDER / ".venvs"  # not in git
OURS = "ratelimit"  # the bare app and ours: the same packages as the peers', without any of them
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
SHOWN = ("3.11", "3.13")  # the oldest that is supported and the newest that is tested, side by side on the page


def python(name: str, version: str = OWN) -> Path:
    """The interpreter of a peer's environment, which is made first if it is not there as its file says."""
    place = PLACE / version / name
    program, ready = place / "bin" / "python", place / "ready"
    base = interpreter(version)
    if base is None:
        raise RuntimeError(f"there is no Python {version} on the PATH, nor below {_pyenv()}")
    wanted = f"{said(base)}\n{requirements(name)}"
    if ready.exists() and ready.read_text() == wanted:
        return program
    print(f"making the environment of {name} on Python {version}", file=sys.stderr)
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([base, "-m", "venv", place], check=True, env=outside())
    pip = [str(program), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    install = [*pip, "install", "-r", str(REQUIREMENTS / f"{name}.txt")]
    done = subprocess.run(install, env=outside(), check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"the environment of {name} could not be made:\n{done.stderr}")
    ready.write_text(wanted)
    return program


@cache
def interpreter(version: str) -> str | None:
    """A Python of this version that runs: this one, that of the PATH, or one of pyenv; None where there is none."""
    if version == OWN:
        return sys.executable
    named = [found] if (found := shutil.which(f"python{version}")) else []
    of_pyenv = sorted(str(path) for path in _pyenv().glob(f"versions/{version}.*/bin/python"))
    return next((program for program in [*named, *reversed(of_pyenv)] if said(program)), None)


def versions_shown() -> tuple[str, ...]:
    """Those of the page that are on this machine; that which runs this comes first."""
    others = [version for version in SHOWN if version != OWN and interpreter(version)]
    return (OWN, *others)


def requirements(name: str) -> str:
    """The lines that pin a peer and everything that it brings."""
    return (REQUIREMENTS / f"{name}.txt").read_text()


def versions(name: str) -> dict[str, str]:
    """Packages of a peer's environment, with their versions."""
    return dict(line.split("==") for line in requirements(name).splitlines() if "==" in line)


def outside() -> dict[str, str]:
    """The environment of this process without what would show its own packages to another Python, or measure it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE_"))}


@cache
def said(program: str) -> str:
    """Of a Python, with its build; nothing where it does not run, as the shims of pyenv."""
    done = subprocess.run([program, "-VV"], env=outside(), check=False, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def _pyenv() -> Path:
    return Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
