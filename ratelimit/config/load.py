"""From a file to a Policy."""

from __future__ import annotations

import os
import re
import tomllib
from hashlib import sha256
from pathlib import Path

from ratelimit.config.build import build
from ratelimit.config.check import check
from ratelimit.config.messages import PolicyError, Problem
from ratelimit.config.valid import read_valid
from ratelimit.policy import Policy

_POSITION = re.compile(r"(.*) \(at (line \d+, column \d+|end of document)\)", re.DOTALL)


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """The policy of a TOML file. PolicyError lists every problem, each with the path of the file."""
    origin = os.fspath(path)
    wrong = None
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        wrong = f"{origin}: can't be read: {error.strerror}"
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        wrong = f"{origin}: line {line}: is not UTF-8, which TOML is always written in"
    if wrong:
        raise PolicyError([wrong])
    return parse_policy(text, origin)


def parse_policy(text: str, origin: str) -> Policy:
    """The policy of a text in TOML; `origin` is what messages call it. Two equal texts of one origin are one policy."""
    tables, problems = _parse_toml(text)
    valid = None
    if tables is not None:
        valid, problems = read_valid(tables)
    if valid is not None:
        problems += check(valid)
    if valid is None or problems:
        raise PolicyError(f"{origin}: {problem}" for problem in problems)
    return build(valid.file, f"{origin}#{sha256(text.encode()).hexdigest()}")


def _parse_toml(text: str) -> tuple[dict[str, object] | None, list[Problem]]:
    try:
        return tomllib.loads(text), []
    except ValueError as error:  # also that of a number with thousands of digits
        message = str(error)
    except RecursionError:
        message = "has too many lists or tables within each other"
    position = _POSITION.fullmatch(message)
    return None, [Problem((), f"{position[2]}: {position[1]}" if position else message)]
