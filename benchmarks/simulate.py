"""What a simulation takes: lines a second, memory, and how much faster two processes are; of the command itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks import access_logs
from benchmarks.section import Cell, Figure, Section, Table

LINES = {"short": 1_000_000, "full": 5_000_000}
OTHERS = 200_000  # lines of each other format
CALLERS = 100_000
ROUNDS = {"short": 3, "full": 3}

RATE = 50_000  # lines a second and core
MEMORY = 300  # MB of 5 million lines of 100,000 callers
RATIO = 1.7  # of two processes to one

POLICY = """
[identity]
default_tier = "basic"
[operations]
exempt = ["GET /health"]
[tiers.anonymous]
limits = [
  { name = "requests", rate = "60/minute" },
  { name = "searches", rate = "20/10 seconds", operations = ["search"] },
  { name = "daily", quota = "5000/day" },
]
[tiers.basic]
limits = [
  { name = "requests", rate = "100/minute" },
  { name = "searches", rate = "20/10 seconds", operations = ["search"] },
  { name = "monthly", quota = "50000/month" },
]
"""
TEXT = """\
`ratelimit simulate` on a log that is made up: a caller in seven is a user, a tenth of the callers makes more than half
of the requests, some come at the full minute. The policy has two rates and a quota in each of two tiers. Of one process
its own time counts, of which the lines a second and core are; the ratio is of the time on the wall, round by round."""


class Run(NamedTuple):
    seconds: float  # on the wall
    cpu: float  # seconds of all processes
    megabytes: float  # of the largest process


def measure(*, short: bool) -> Section:
    form = "short" if short else "full"
    with TemporaryDirectory() as folder:
        policy = Path(folder, "ratelimit.toml")
        policy.write_text(POLICY)
        log = write(Path(folder), "nginx", LINES[form])
        alone, together, verdicts = [], [], []
        for number in range(ROUNDS[form]):
            print(f"simulate: round {number + 1} of {ROUNDS[form]}", file=sys.stderr)
            alone.append(run(policy, log))
            together.append(run(policy, log, "--jobs", "2"))
        verdicts.append(run(policy, log, "--verdicts", str(Path(folder, "verdicts.jsonl"))))
        log.unlink()
        others: list[Sequence[Cell]] = []
        for name in ("combined", "traefik", "caddy", "json"):
            other = write(Path(folder), name, OTHERS)
            others.append((name, round(OTHERS / run(policy, other).cpu)))
            other.unlink()
    rate = median(LINES[form] / one.cpu for one in alone)
    ratio = median(one.seconds / two.seconds for one, two in zip(alone, together, strict=True))
    memory = max(one.megabytes for one in alone)
    rows = [_row("one process", LINES[form], alone), _row("two processes", LINES[form], together)]
    rows.append(_row("one, with --verdicts", LINES[form], verdicts))
    what = f"simulate, {LINES[form]:,} lines of {CALLERS:,} callers"
    figures = [
        Figure(f"{what}: lines a second and core", f">= {RATE:,}", round(rate), rate >= RATE),
        Figure(f"{what}: MB", f"<= {MEMORY}", round(memory), memory <= MEMORY),
        Figure(f"{what}: two processes / one", f">= {RATIO}", round(ratio, 2), ratio >= RATIO),
    ]
    tables = [
        Table("simulate", ("", "lines/s", "lines/s and core", "MB a process"), rows),
        Table(
            f"simulate, other formats, {OTHERS:,} lines, with half a second to begin",
            ("format", "lines/s and core"),
            others,
        ),
    ]
    raw = {"alone": [one._asdict() for one in alone], "together": [two._asdict() for two in together]}
    return Section("simulate", "Simulations", TEXT, tables, [], figures, raw)


def write(folder: Path, name: str, count: int) -> Path:
    """A log of so many lines."""
    path = folder / f"{name}.log"
    with path.open("w") as file:
        wanted = name if name in access_logs.FORMATS else "nginx"
        file.writelines(f"{line}\n" for line in access_logs.lines(count, CALLERS, wanted))
    return path


# In a process of its own, and a small one: what a process has at most counts from its fork on, when it is its parent.
_MEASURED = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
seconds, cpu = time.perf_counter() - began, used.ru_utime + used.ru_stime
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, cpu, used.ru_maxrss / 1_024]))
"""


def run(policy: Path, log: Path, *options: str) -> Run:
    command = [sys.executable, "-m", "ratelimit", "simulate", str(policy), str(log), *options, "--format", "json"]
    told = subprocess.run([sys.executable, "-c", _MEASURED, *command], check=True, stdout=subprocess.PIPE).stdout
    code, *measured = json.loads(told)
    if code > 1:
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
    return Run(*measured)


def _row(name: str, count: int, runs: Sequence[Run]) -> list[Cell]:
    return [
        name,
        round(median(count / one.seconds for one in runs)),
        round(median(count / one.cpu for one in runs)),
        round(max(one.megabytes for one in runs)),
    ]
