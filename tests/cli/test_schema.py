"""`ratelimit schema`, and the line of a file by which an editor finds it."""

from __future__ import annotations

import json
import tomllib

import jsonschema  # type: ignore[import-untyped]
import pytest

from ratelimit.config import json_schema
from tests.cli import ROOT, policy, run, run_in_terminal
from tests.cli.test_skeleton import ESCAPES

EXAMPLES = ("facturapi", "lightspeed", "lendworks", "completions")


def test_it_is_printed() -> None:
    """Standard output is the schema and nothing else, with an id that no other schema has."""
    ran = run("schema")
    assert (ran.code, ran.err) == (0, "")
    schema = json.loads(ran.out)
    assert schema == json_schema()
    assert schema["$id"] == "urn:ratelimit-asgi:policy"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_in_a_terminal() -> None:
    """On a terminal it is the same, without colours, to be copied."""
    ran = run_in_terminal("schema")
    assert not ESCAPES.search(ran.out)
    assert json.loads(ran.out) == json_schema()


def test_the_schema_of_the_examples() -> None:
    """It is today's. Where this fails: ratelimit schema > examples/ratelimit.schema.json"""
    assert (ROOT / "examples" / "ratelimit.schema.json").read_text() == run("schema").out


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_say_where_it_is(name: str) -> None:
    """Each in its first line, relative to the file, and each is right by it."""
    text = (ROOT / "examples" / name / "ratelimit.toml").read_text()
    first = text.splitlines()[0]
    schema = json.loads((ROOT / "examples" / name / first.removeprefix("#:schema ")).read_text())
    written = json.loads(json.dumps(tomllib.loads(text), default=lambda moment: moment.isoformat()))
    jsonschema.Draft202012Validator(schema).validate(written)
    assert policy(name).endswith(f"{name}/ratelimit.toml")
