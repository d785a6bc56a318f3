"""Serves one of the example APIs on 127.0.0.1 until Ctrl-C, and prints what to try.

python -m examples.serve facturapi [port]
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import uvicorn

NAMES = ("facturapi", "lightspeed", "lendworks", "completions")
PORT = 8000


def main(arguments: list[str]) -> int:
    if not 1 <= len(arguments) <= 2 or arguments[0] not in NAMES or not all(a.isdigit() for a in arguments[1:]):
        print(f"usage: python -m examples.serve {'|'.join(NAMES)} [port]", file=sys.stderr)
        return 2
    name, port = arguments[0], int(arguments[1]) if arguments[1:] else PORT
    print("\n".join(["Try:", *commands(name, port), ""]), flush=True)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")  # also what ratelimit says of a denial
    uvicorn.run(f"examples.{name}.app:app", host="127.0.0.1", port=port, proxy_headers=False)
    return 0


def commands(name: str, port: int) -> list[str]:
    """The lines with curl in the README of an example, for another port."""
    lines = (Path(__file__).parent / name / "README.md").read_text("utf-8").splitlines()
    return [line.replace(f":{PORT}", f":{port}") for line in lines if line.startswith("curl ")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
