"""python -m benchmarks [--all] [--only NAME ...] [--into FOLDER]: the measures one after the other, and the report.

Writes results.json, from which `python -m benchmarks.report` can write the report again, then RESULTS.md and the plots.
A whole run ends with docs/scaling.md, which is computed from the results; one into another folder leaves it alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks import load, section

FOLDER = Path(__file__).parent
# Modules with a measure(short=...), in the order of the report. Never two at once: they would measure each other.
MEASURES = (
    *("throughput", "processor", "workers", "latency", "apis", "million"),
    *("flood", "script", "strictness", "memory", "micro", "telemetry", "simulate"),
)


def main() -> None:
    arguments = _arguments()
    folder: Path = arguments.into
    results = folder / "results.json"
    load.wrk_program()  # now, rather than after minutes
    known = section.from_json(results.read_text()) if results.exists() else []  # what micro.py compares with, too
    found = {one.name: one for one in known}
    began = time.monotonic()
    for name in arguments.only or MEASURES:
        started = time.monotonic()
        print(f"{name} …", file=sys.stderr)
        found[name] = import_module(f"benchmarks.{name}").measure(short=not arguments.all)
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        sections = [found[name] for name in MEASURES if name in found]
        folder.mkdir(parents=True, exist_ok=True)
        results.write_text(section.to_json(sections) + "\n")  # each time: what is found stays if the next one fails
    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    import_module("benchmarks.report").write(sections, command=command, folder=folder)
    if not arguments.only and folder == FOLDER:
        import_module("benchmarks.scaling").main()
    print(f"{time.monotonic() - began:.0f} s in all", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure ratelimit and its peers.")
    matrix = "the whole matrix: longer runs, more rounds, all peers on each Python, windows that end; about two hours"
    parser.add_argument("--all", action="store_true", help=f"{matrix}. Without it 20 minutes on 2 cores")
    names = f"of {', '.join(MEASURES)}; the results of the others stay"
    parser.add_argument("--only", nargs="+", choices=MEASURES, metavar="NAME", help=names)
    into = "where the results and the report go, instead of into this folder"
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="FOLDER", help=into)
    return parser.parse_args()


if __name__ == "__main__":
    main()
