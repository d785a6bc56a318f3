"""From a file to a Policy."""

from __future__ import annotations

import logging
import os
import re
import tomllib
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path as FilePath
from typing import NamedTuple

from ratelimit.config.build import build
from ratelimit.config.checks.whole import check
from ratelimit.config.grammar.messages import Path, PolicyError, Problem
from ratelimit.config.grammar.valid import Valid, read_valid
from ratelimit.ground.tracebacks import without_locals
from ratelimit.policy import Policy

_log = logging.getLogger("ratelimit")

# Names that the parser repeats: of "Cannot declare ('keys', 'sk_live_1') twice" the second is an API key.
_NAMES = re.compile(r"\(['\"].*\)|'.{4,}'|\".{4,}\"", re.DOTALL)
WARNED = 50  # of a load: thousands of rules can be odd in the same way
DEEPEST = 32  # lists and tables within each other; the grammar has 6
TOO_DEEP = "has too many lists or tables within each other"
_MANY_STEPS = re.compile(r"""(?<![\w"'.-])[\w"'-]++(?:[ \t]*+\.[ \t]*+[\w"'-]++){64}""").search  # a.a.a.a… = 1
_POSITION = re.compile(r"(.*) \(at (line \d+, column \d+|end of document)\)", re.DOTALL)


class Examined(NamedTuple):
    """A text in TOML as far as it is a policy. `valid` is None where nothing of it can be read, `policy` where
    something is wrong."""

    valid: Valid | None
    policy: Policy | None
    problems: list[Problem]  # those that are only odd, too


@without_locals
def load_policy(path: str | os.PathLike[str]) -> Policy:
    """The policy of a TOML file. PolicyError lists every problem, each with the path of the file; what is only odd is
    logged, a line each, as a warning."""
    called = os.fspath(path)
    wrong = None
    try:
        data = FilePath(path).read_bytes()
    except OSError as error:
        wrong = f"{called}: can't be read: {error.strerror}"
    if wrong:
        raise PolicyError([wrong])
    return policy_of(data, path)


@without_locals
def policy_of(data: bytes, path: str | os.PathLike[str]) -> Policy:
    """The same of what was read of a file, which may be another one meanwhile."""
    called = os.fspath(path)
    return _policy(decoded(data, called), called, os.path.realpath(path))  # one file is one policy, by whatever path


@without_locals
def parse_policy(text: str, origin: str = "policy") -> Policy:
    """The policy of a text in TOML; `origin` is what messages call it. Two equal texts of one origin are one policy."""
    return _policy(text, origin, origin)


@without_locals
def decoded(data: bytes, called: str) -> str:
    """The text of a file. PolicyError where it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
    raise PolicyError([f"{called}: line {line}: is not UTF-8, which TOML is always written in"])


@without_locals
def examine(text: str, origin: str) -> Examined:
    """Everything that there is to say of a text, and the policy if it is one. Nothing is logged."""
    tables, problems = _parse_toml(text)
    valid = None
    if tables is not None and not problems:
        valid, problems = read_valid(tables)
    if valid is not None:
        problems += check(valid)
    if valid is None or any(not problem.odd for problem in problems):
        return Examined(valid, None, problems)
    return Examined(valid, build(valid.file, named(origin, text)), problems)


def named(origin: str, text: str) -> str:
    """The origin of a policy: two equal texts of one origin are one policy."""
    return f"{origin}#{sha256(text.encode()).hexdigest()}"


def _policy(text: str, called: str, origin: str) -> Policy:
    _, policy, problems = examine(text, origin)
    return usable(policy, problems, called)


def usable(policy: Policy | None, problems: Sequence[Problem], called: str) -> Policy:
    """The policy, if there is one; what is only odd is logged. PolicyError lists what is wrong."""
    if policy is None:
        raise PolicyError(f"{called}: {problem}" for problem in problems if not problem.odd)
    _warn(called, problems)
    return policy


def _warn(called: str, odd: Sequence[Problem]) -> None:
    for problem in odd[:WARNED]:
        _log.warning("%s: %s", called, problem)
    if len(odd) > WARNED:
        _log.warning("%s: and %d more that are odd", called, len(odd) - WARNED)


def _parse_toml(text: str) -> tuple[dict[str, object] | None, list[Problem]]:
    # For 50,000 steps the parser takes a minute, and 10 GB. Line by line, so that a reload never holds up the loop.
    if any(map(_MANY_STEPS, text.splitlines())):
        return None, [Problem((), TOO_DEEP)]
    try:
        tables = tomllib.loads(text)
        return tables, _beyond(tables)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
    except ValueError:  # of int(), which says no line
        message = "has a number of thousands of digits; a whole number of TOML has 64 bits"
    except RecursionError:
        message = TOO_DEEP
    position = _POSITION.fullmatch(message)
    where, what = (f"{position[2]}: ", position[1]) if position else ("", message)
    return None, [Problem((), where + _NAMES.sub("…", what))]


def _beyond(tables: dict[str, object]) -> list[Problem]:
    """What Python's parser takes and nothing behind it could: no end of depth, numbers of thousands of digits."""
    level: list[tuple[Path, object]] = [((), tables)]
    for _ in range(DEEPEST):
        level = [((*path, step), item) for path, node in level for step, item in _items(node)]
        if large := [path for path, node in level if isinstance(node, int) and not -(2**63) <= node < 2**63]:
            return [Problem(path, "is no whole number of TOML, which has 64 bits") for path in large]
    return [Problem((), TOO_DEEP)] if level else []


def _items(node: object) -> Iterable[tuple[str | int, object]]:
    if isinstance(node, dict):
        return node.items()
    return enumerate(node) if isinstance(node, list) else ()
