"""A guard against regressions that can't flake: bytecodes a request on fixed paths, against those on record.

    python -m benchmarks.guard                     # counts them on each Python that is here, and compares
    python -m benchmarks.guard --record [REASON]   # writes what was counted; with a reason where one is higher

guard.json has the record: a number a path and Python, for compilers differ, and the reason of the last time that it was
raised. What takes longer without running more bytecodes (a larger copy, another system call) is found by processor.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks import environments, load
from benchmarks.children import child

RECORD = Path(__file__).parent / "guard.json"
PYTHONS = ("3.11", "3.12", "3.13")
ABOVE = 1.01  # of the record, at most: a second that ends at the wrong time was seen to add 0.1 %
BELOW = 0.9  # of the record, at least: below it the record says nothing
REASON = "reason"
FIRST = "as first counted"
LOWER = "python -m benchmarks.guard --record"

Counts = Mapping[str, int]  # by path
Record = dict[str, dict[str, int | str]]  # by path: a number a version of Python, and the reason


def counted(url: str, program: object = sys.executable) -> Counts:
    """In a process of its own: whoever traces this one is left alone. Without a URL no path on Redis is run."""
    found = child(program, "benchmarks.guard_paths", url)
    return {name: int(bytecodes) for name, bytecodes in found.items()}


def known(file: Path = RECORD) -> Record:
    return dict(json.loads(file.read_text())) if file.exists() else {}


def problems(record: Record, counts: Counts, version: str) -> Iterator[str]:
    """A line for each path that runs more than is on record, or so much less that it is to be lowered."""
    for path, bytecodes in counts.items():
        on_record = record.get(path, {}).get(version)
        if not isinstance(on_record, int):
            yield f"{path}: {bytecodes:,} bytecodes on Python {version}, and none on record: `{LOWER}`"
        elif bytecodes > on_record * ABOVE:
            yield (
                f"{path}: {bytecodes:,} bytecodes a request on Python {version}, {bytecodes - on_record:,} more than"
                f" the {on_record:,} on record: take them out again, or `{LOWER} 'what they are worth'`"
            )
        elif bytecodes < on_record * BELOW:
            yield (
                f"{path}: {bytecodes:,} bytecodes a request on Python {version}, far below the {on_record:,} on record,"
                f" which guards nothing any more: `{LOWER}`"
            )


def recorded(record: Record, counts: Counts, version: str, reason: str = "") -> Record:
    """The record with these counts. Raises ValueError without a reason where one rises by more than noise."""
    made: Record = {path: dict(numbers) for path, numbers in record.items()}
    for path, bytecodes in counts.items():
        numbers = made.setdefault(path, {REASON: FIRST})
        on_record = numbers.get(version)
        if isinstance(on_record, int) and bytecodes > on_record * ABOVE:
            if not reason:
                raise ValueError(
                    f"{path} rises from {on_record:,} to {bytecodes:,} on Python {version}: say why, {LOWER} 'why'"
                )
            numbers[REASON] = reason
        numbers[version] = bytecodes
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description="Count bytecodes a request.")
    parser.add_argument("--record", nargs="?", const="", metavar="REASON", help="write the counts down")
    reason: str | None = parser.parse_args().record
    found = {}
    with load.store() as server:
        for version in PYTHONS:
            if environments.interpreter(version):
                found[version] = counted(server.unix_url, environments.python(environments.OURS, version))
            else:
                print(f"there is no Python {version} here: its numbers stay", file=sys.stderr)
    record = known()
    if reason is None:
        lines = [line for version, counts in found.items() for line in problems(record, counts, version)]
        raise SystemExit("\n".join(lines) if lines else None)
    for version, counts in found.items():
        record = recorded(record, counts, version, reason)
    record = {path: record[path] for counts in found.values() for path in counts}  # none that is no longer there
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
