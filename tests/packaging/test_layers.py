"""Which way imports go in ratelimit/, and how long its files are."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.packaging import ROOT

# From the ground up. A room is a folder, or a file beside the folders. It imports from the layers below and itself.
# A new room is given its place here.
LAYERS = (
    {"ground"},
    {"checks"},
    {"launches/stages"},
    {"model"},
    {"routes"},
    {"identity", "operations", "formula", "policy", "styles", "answers", "stores/counting"},
    {"log", "stores/connection", "stores/records", "stores/replay"},
    {"stores/lua"},
    {"stores/batching"},
    {"stores/routing"},
    {"stores/fallback"},
    {"stores"},
    {"slots", "config/grammar", "telemetry"},
    {"config/checks", "who", "nesting", "waiting"},
    {"config", "control"},
    {"opening", "endpoints", "websockets", "recording"},
    {"switch", "lifespan", "launches"},
    {"reload"},
    {"middleware"},
    {"usage", "explanation"},
    {"fastapi", "testing", "review", "comparison", "simulate/events"},
    {"simulate/logs", "simulate/analysis"},
    {"simulate/deciding", "simulate/report"},
    {"simulate"},
    {"testing/contract"},
    {"cli/output"},
    {"cli/input"},
    {"cli/commands"},
    {"cli"},
    {"__init__", "__main__"},
)
HEIGHT = {room: height for height, layer in enumerate(LAYERS) for room in layer}
DOORS = {"stores", "stores.memory", "stores.redis", "stores.replay"}  # all that is imported of stores/ outside of it
IN_A_ROOM = 8  # modules of a room of stores/, besides __init__
ONLY_IN: dict[str, set[str]] = {  # files, and folders that end in "/"
    "typer": {"cli/"},
    "rich": {"cli/"},
    "zstandard": {"simulate/logs/sources.py"},
    "redis": {"stores/connection/dial.py"},
    "starlette": {"routes/units.py", "testing/client.py"},
    "fastapi": {
        "fastapi/control.py",
        "fastapi/deciding.py",
        "fastapi/document.py",
        "fastapi/limits.py",
        "fastapi/usage.py",
    },
    "prometheus_client": {"telemetry/prometheus.py"},
    "opentelemetry": {"telemetry/opentelemetry.py"},
}
LONGEST = 215  # lines
LONGER = {
    "stores/batching/queue.py": 260,  # the path of a decision in one file, with who waits, who is sent, who is told
    "stores/connection/link.py": 260,  # the life of a connection in one file
    "stores/routing/urls.py": 240,  # what each kind of URL says, and what is wrong with it, in one file
    "middleware.py": 295,  # the path of a request in one file, and what it is made of
    "checks/values.py": 230,  # each check of a value, in one file
    "model.py": 400,  # seven nouns, four contracts and what a Decision says without States, to be read first
}

FILES = {
    path.relative_to(ROOT / "ratelimit").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "ratelimit").rglob("*"))
    if path.suffix in {".py", ".lua"}
}
SOURCES = {path: text for path, text in FILES.items() if path.endswith(".py")}
MODULES = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in SOURCES}


def room_of(module: str) -> str:
    """Of a module, as `stores.batching.queue`: the folder that it is in, or itself beside the folders."""
    path = MODULES.get(module, module.replace(".", "/") + ".py")
    return path.rpartition("/")[0] or path.removesuffix(".py")


def violations(sources: Mapping[str, str]) -> list[str]:
    """What is wrong in files, by their path in ratelimit/: a sentence each."""
    return [sentence for path, text in sources.items() for sentence in _wrong(path, ast.parse(text, path))]


def _wrong(path: str, tree: ast.AST) -> Iterator[str]:
    room = path.rpartition("/")[0] or path.removesuffix(".py")
    for module in _imports(tree):
        package, _, below = module.partition(".")
        if package == "":
            yield f"{path}: imports are written in full, as ratelimit.model"
        elif package == "ratelimit":
            yield from (f"{path}: {said}" for said in _wrong_import(room, below or "__init__"))
    for module in _imports(tree, types=False):
        package = module.partition(".")[0]
        if package in ONLY_IN and not any(
            path == one or (one[-1] == "/" and path.startswith(one)) for one in ONLY_IN[package]
        ):
            yield f"{path}: {package} may not be imported here"


def _wrong_import(room: str, module: str) -> Iterator[str]:
    other = room_of(module)
    if room != other and HEIGHT[other] >= HEIGHT[room]:
        yield f"{room} may not import ratelimit.{module}"
    elif module.startswith("stores") and not room.startswith("stores") and module not in DOORS:
        yield f"ratelimit.{module} is behind the doors of stores/"


def circles(sources: Mapping[str, str]) -> list[list[str]]:
    """Modules that import each other in a loop; imports for types count. What a package hands on is that module's."""
    arrows = {path: {MODULES[module] for module in _below(ast.parse(text, path))} for path, text in sources.items()}
    faces = {path for path in arrows if path.endswith("__init__.py")}
    try:
        TopologicalSorter({path: to - faces for path, to in arrows.items() if path not in faces}).prepare()
    except CycleError as error:
        return [error.args[1]]
    return []


def _below(tree: ast.AST) -> Iterator[str]:
    for module in _imports(tree):
        package, _, below = module.partition(".")
        if package == "ratelimit" and below in MODULES:
            yield below


def _imports(node: ast.AST, *, types: bool = True) -> Iterator[str]:
    """The modules that are imported anywhere below a node; without `types`, not those under `if TYPE_CHECKING:`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            below = f"{module}.{alias.name}".removeprefix("ratelimit.")
            yield f"ratelimit.{below}" if module.startswith("ratelimit") and below in MODULES else module
    elif types or not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
        for child in ast.iter_child_nodes(node):
            yield from _imports(child, types=types)


def test_layers() -> None:
    """Imports go down the layers, types included; stores/ is entered by its doors, and redis imported in one file."""
    assert violations(SOURCES) == []


def test_no_circles() -> None:
    """No module is imported by what it imports, not even for a type."""
    assert circles(SOURCES) == []


def test_a_circle_is_found() -> None:
    """A loop through two files is one, also where one of them hides it under TYPE_CHECKING."""
    hidden = "if TYPE_CHECKING:\n  from ratelimit.model import Store"
    assert circles({"model.py": "from ratelimit import who", "who.py": hidden}) != []
    assert circles({"model.py": "", "who.py": hidden}) == []


def test_rooms_of_the_stores() -> None:
    """A room of stores/ has at most eight modules, and says in one sentence what it is for."""
    rooms = {room for room in map(room_of, MODULES) if room.startswith("stores/")}
    for room in rooms:
        assert len([path for path in SOURCES if path.startswith(f"{room}/")]) - 1 <= IN_A_ROOM, room
        assert ast.get_docstring(ast.parse(SOURCES[f"{room}/__init__.py"]))


def test_the_redis_file_is_there() -> None:
    """The one file that may import redis does: otherwise the rule above would be kept by nobody."""
    (path,) = ONLY_IN["redis"]
    assert "redis" in {module.partition(".")[0] for module in _imports(ast.parse(SOURCES[path]))}


def test_every_room_has_its_layer() -> None:
    """A room that no layer names fails here, and so does a layer that names a room that is gone."""
    assert set(map(room_of, MODULES)) - {""} == set(HEIGHT)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("model.py", "from ratelimit.policy import Policy", "model may not import ratelimit.policy"),
        ("policy/tiers.py", "from ratelimit.stores import open_store", "policy may not import ratelimit.stores"),
        (
            "operations/paths.py",
            "from ratelimit.identity import api_keys",
            "operations may not import ratelimit.identity.api_keys",
        ),
        ("answers/response.py", "import ratelimit.log.lines", "answers may not import ratelimit.log.lines"),
        ("config/load.py", "from ratelimit import RateLimitMiddleware", "config may not import ratelimit.__init__"),
        (
            "config/load.py",
            "def f():\n  from ratelimit import middleware",
            "config may not import ratelimit.middleware",
        ),
        (
            "log/lines.py",
            "if TYPE_CHECKING:\n  from ratelimit.slots import holding",
            "log may not import ratelimit.slots.holding",
        ),
        (
            "stores/lua/scripts.py",
            "from ratelimit.stores.batching.queue import DecisionQueue",
            "stores/lua may not import ratelimit.stores.batching.queue",
        ),
        (
            "middleware.py",
            "from ratelimit.stores.fallback.local import local_of",
            "ratelimit.stores.fallback.local is behind the doors of stores/",
        ),
        ("stores/redis.py", "from .connection import Link", "imports are written in full, as ratelimit.model"),
        ("stores/redis.py", "import redis.asyncio", "redis may not be imported here"),
        ("operations/routes.py", "from starlette.routing import Route", "starlette may not be imported here"),
        ("middleware.py", "import rich.console", "rich may not be imported here"),
        (
            "identity/api_keys.py",
            "try:\n  import fastapi\nfinally:\n  pass",
            "fastapi may not be imported here",
        ),
    ],
)
def test_a_violation_is_found(path: str, text: str, expected: str) -> None:
    """Each rule finds an import that breaks it, wherever in the file it stands."""
    assert violations({path: text}) == [f"{path}: {expected}"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("config/build.py", "from ratelimit.policy import Policy\nfrom ratelimit.config.grammar.amounts import Amount"),
        ("operations/classify.py", "from ratelimit.routes.table import Table"),
        ("stores/redis.py", "if TYPE_CHECKING:\n  from redis.asyncio import Redis"),
        ("stores/connection/dial.py", "from redis.asyncio import Connection"),
        ("cli/commands/check.py", "import typer"),
        ("middleware.py", "from ratelimit.log import lines"),
        ("middleware.py", "from ratelimit.stores import local_of"),
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
