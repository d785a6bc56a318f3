"""Where and with what the measures were taken, as a section of the report."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks import environments
from benchmarks.section import Section, Table
from tests import servers

NAME = "machine"
UNKNOWN = "not known"
SHARED = ("uvicorn", "uvloop", "httptools", "starlette", "fastapi", "pydantic", "redis", "hiredis")
ROOT = Path(__file__).parents[1]
WRITTEN = ("benchmarks/results.json", "benchmarks/RESULTS.md", "benchmarks/plots", "docs/scaling.md")
VERSION = re.compile(r"\d+(\.\d+)+")


def section(command: str) -> Section:
    """What is here now, and the command that measured."""
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return Section(
        NAME,
        "The machine",
        f"Measured until {now}; the last command was `{command}`.",
        [
            Table("Machine", ("", ""), list(machine())),
            Table("Programs", ("", "version"), list(programs())),
            Table("Packages", ("", "of the served apps", "of the harness"), list(packages())),
            Table("Peers", ("", "version"), list(peers())),
        ],
        raw={"date": now, "command": command},
    )


def machine() -> Iterator[tuple[str, str]]:
    yield "processor", _field(Path("/proc/cpuinfo"), "model name") or platform.processor() or UNKNOWN
    yield "cores", str(os.cpu_count())
    kilobytes = _field(Path("/proc/meminfo"), "MemTotal").removesuffix(" kB")
    yield "memory", f"{int(kilobytes) / 2**20:.1f} GiB" if kilobytes else UNKNOWN
    yield "system", f"{platform.system()} {platform.release()}"
    yield "commit", commit()
    yield "load average over 15 minutes, at the end", f"{os.getloadavg()[2]:.1f}"


def programs() -> Iterator[tuple[str, str]]:
    yield "python", platform.python_version()
    for version in environments.versions_shown()[1:]:
        yield "python, beside it", environments.said(str(environments.interpreter(version))).split()[1]
    for name in ("valkey", "redis"):
        yield f"{name}-server", _version([servers.binary(name), "--version"])
    wrk = shutil.which("wrk")
    yield "wrk", _version([wrk, "--version"]) if wrk else UNKNOWN


def packages() -> Iterator[tuple[str, str, str]]:
    """Those that all apps share, and those of this process, which measures without an app too. `redis` is redis-py."""
    pinned = environments.versions(environments.OURS)
    for package in SHARED:
        yield {"redis": "redis-py"}.get(package, package), pinned.get(package, UNKNOWN), _installed(package)


def peers() -> Iterator[tuple[str, str]]:
    """What each environment was made for; of fastapi-limiter the library that counts, too."""
    for name in sorted(path.stem for path in environments.REQUIREMENTS.glob("*.txt")):
        if name != environments.OURS:
            pinned = environments.versions(name)
            yield name, pinned.get(name, UNKNOWN)
            if "pyrate-limiter" in pinned:
                yield "pyrate-limiter", pinned["pyrate-limiter"]


def commit(folder: Path = ROOT) -> str:
    """What was measured, and whether files differ from it: all but those that the benchmarks themselves write."""
    found = _git(folder, "rev-parse", "--short", "HEAD")
    others = [f":(exclude){path}" for path in WRITTEN]
    changed = found and _git(folder, "status", "--porcelain", "--", ".", *others)
    return f"{found} + changes" if changed else found or UNKNOWN


def _git(folder: Path, *arguments: str) -> str:
    """What git says; nothing where there is no git, or no repository. It takes no lock: others may be at work."""
    if not (git := shutil.which("git")):
        return ""
    command = [git, "--no-optional-locks", "-C", str(folder), *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip()


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _field(file: Path, name: str) -> str:
    """The value of the first line "name : value" of a file in /proc; empty where there is none."""
    for line in file.read_text().splitlines() if file.exists() else ():
        field, _, value = line.partition(":")
        if field.strip() == name:
            return value.strip()
    return ""


def _version(command: list[str]) -> str:
    """The first version in what a program says; wrk says it with a status of 1."""
    said = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    found = VERSION.search(said)
    return found[0] if found else UNKNOWN
