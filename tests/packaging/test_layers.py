"""Which way imports go in ratelimit/, and how long its files are."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

import pytest

from tests.packaging import ROOT

# From the ground up. A room imports from the layers below it and from itself; a new room is given its place here.
LAYERS = (
    {
        "awaited",
        "ending",
        "lines",
        "loops",
        "memo",
        "networks",
        "once",
        "ranges",
        "repeats",
        "tracebacks",
        "trio_loop",
        "words",
    },
    {"caller", "checks"},
    {"made"},
    {"model"},
    {
        "address",
        "credentials",
        "formula",
        "forwarded",
        "declared",
        "identity",
        "idle",
        "items",
        "keys",
        "malformed",
        "operations",
        "overrides",
        "paths",
        "policy",
        "readings",
        "routes",
        "rules",
        "stores",
        "styles",
        "tiers",
        "unknown",
    }
    # the middleware's own small rooms
    | {"cors", "denials", "headers", "holding", "leases", "log", "nesting", "outage", "renewals", "response"}
    | {"telling"},
    {"who"},
    {"config"},
    {"opening"},
    {"middleware"},
    {"__init__"},
)
HEIGHT = {room: height for height, layer in enumerate(LAYERS) for room in layer}
SIDEWAYS = {
    ("address", "forwarded"),
    ("identity", "credentials"),
    ("identity", "malformed"),
    ("address", "malformed"),
    *{("operations", room) for room in ("items", "malformed", "paths", "readings", "rules")},
    *{("items", "declared"), ("items", "idle"), ("items", "paths"), ("items", "routes"), ("items", "rules")},
    *{("idle", "paths"), ("idle", "routes"), ("idle", "rules")},
    *{("routes", "declared"), ("routes", "paths"), ("declared", "paths"), ("readings", "paths"), ("rules", "paths")},
    *{("policy", "keys"), ("policy", "overrides"), ("policy", "tiers"), ("policy", "unknown")},
    *{("overrides", "keys"), ("tiers", "keys")},
    *{("denials", "keys"), ("denials", "log")},
    *{("nesting", "keys"), ("nesting", "policy"), ("nesting", "stores")},
    ("cors", "headers"),
    ("loops", "trio_loop"),
    *{("leases", "renewals"), ("holding", "headers"), ("holding", "leases"), ("holding", "response")},
    ("holding", "stores"),
}
ONLY_IN: dict[str, set[str]] = {"redis": {"stores/connection.py"}, "starlette": set(), "fastapi": set()}
LONGEST = 215  # lines
LONGER = {
    "stores/group.py": 245,  # the path of a decision in one file, with who waits, who is sent, who is told
    "stores/link.py": 245,  # the life of a connection in one file
    "model.py": 300,  # seven nouns and four contracts, in the one file that is read first
}

FILES = {
    path.relative_to(ROOT / "ratelimit").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "ratelimit").rglob("*"))
    if path.suffix in {".py", ".lua"}
}
SOURCES = {path: text for path, text in FILES.items() if path.endswith(".py")}


def violations(sources: Mapping[str, str]) -> list[str]:
    """What is wrong in files, by their path in ratelimit/: a sentence each."""
    return [sentence for path, text in sources.items() for sentence in _wrong(path, ast.parse(text, path))]


def _wrong(path: str, tree: ast.AST) -> Iterator[str]:
    room = path.removesuffix(".py").partition("/")[0]
    for module in _imports(tree, types=True):
        package, *below = module.split(".")
        if package == "":
            yield f"{path}: imports are written in full, as ratelimit.model"
        elif package == "ratelimit" and not _may_import(room, (below or ["__init__"])[0]):
            yield f"{path}: {room} may not import {module}"
    for module in _imports(tree, types=False):
        package = module.partition(".")[0]
        if package in ONLY_IN and path not in ONLY_IN[package]:
            yield f"{path}: {package} may not be imported here"


def _may_import(room: str, other: str) -> bool:
    return room == other or (room, other) in SIDEWAYS or HEIGHT[other] < HEIGHT[room]


def _imports(node: ast.AST, *, types: bool) -> Iterator[str]:
    """The modules that are imported anywhere below a node; without `types`, not those under `if TYPE_CHECKING:`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            yield f"ratelimit.{alias.name}" if module == "ratelimit" and alias.name in HEIGHT else module
    elif types or not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
        for child in ast.iter_child_nodes(node):
            yield from _imports(child, types=types)


def test_layers() -> None:
    """Imports go down the layers, with the few sideways ones that are listed, and redis is imported in one file."""
    assert violations(SOURCES) == []


def test_the_redis_file_is_there() -> None:
    """The one file that may import redis does: otherwise the rule above would be kept by nobody."""
    assert "redis" in {m.partition(".")[0] for m in _imports(ast.parse(SOURCES["stores/connection.py"]), types=False)}


def test_every_room_has_its_layer() -> None:
    """A room that no layer names fails here, and so does a layer that names a room that is gone."""
    assert {path.removesuffix(".py").partition("/")[0] for path in SOURCES} == set(HEIGHT)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("model.py", "from ratelimit.policy import Policy", "model may not import ratelimit.policy"),
        (
            "policy.py",
            "from ratelimit.stores.memory import MemoryStore",
            "policy may not import ratelimit.stores.memory",
        ),
        ("paths.py", "from ratelimit import routes", "paths may not import ratelimit.routes"),
        ("response.py", "import ratelimit.log", "response may not import ratelimit.log"),
        ("config/load.py", "from ratelimit import RateLimitMiddleware", "config may not import ratelimit"),
        (
            "config/load.py",
            "def f():\n  from ratelimit import middleware",
            "config may not import ratelimit.middleware",
        ),
        ("log.py", "if TYPE_CHECKING:\n  from ratelimit.policy import Policy", "log may not import ratelimit.policy"),
        ("stores/redis.py", "from .connection import Link", "imports are written in full, as ratelimit.model"),
        ("stores/redis.py", "import redis.asyncio", "redis may not be imported here"),
        ("routes.py", "from starlette.routing import Route", "starlette may not be imported here"),
        ("identity.py", "try:\n  import fastapi\nexcept ImportError:\n  pass", "fastapi may not be imported here"),
    ],
)
def test_a_violation_is_found(path: str, text: str, expected: str) -> None:
    """Each rule finds an import that breaks it, wherever in the file it stands."""
    assert violations({path: text}) == [f"{path}: {expected}"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("config/build.py", "from ratelimit.policy import Policy\nfrom ratelimit.config.amounts import Amount"),
        ("operations.py", "from ratelimit.paths import Table\nfrom ratelimit.rules import Rule"),
        ("stores/redis.py", "if TYPE_CHECKING:\n  from redis.asyncio import Redis"),
        ("stores/connection.py", "from redis.asyncio import Connection"),
        ("middleware.py", "from ratelimit import log"),
        ("model.py", "import asyncio"),
    ],
)
def test_what_is_allowed(path: str, text: str) -> None:
    """Imports downwards, within a room, of a type alone, and of the standard library are no violations."""
    assert violations({path: text}) == []


def test_length() -> None:
    """No file is too long to be read at one sitting."""
    lines = {path: len(text.splitlines()) for path, text in FILES.items()}
    assert {path: count for path, count in lines.items() if count > LONGER.get(path, LONGEST)} == {}
