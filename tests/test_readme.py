"""What the README shows was run: its snippets are taken from it and run again."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from ratelimit import MemoryStore, RateLimitMiddleware, load_policy, open_store, parse_policy
from ratelimit.config.grammar.settings import STYLES
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
TOML = [text for language, text in SNIPPETS if language == "toml"]
PYTHON = [text for language, text in SNIPPETS if language == "python"]
POLICY = TOML[0]
AS_ACME = {"Authorization": "Bearer abc123"}
MINUTE = re.findall(r"\| (10:0\S+) \| (\w+) (/\S+) \| (\d+) \| (\d*) \|(?: (\d+))? \|", README)


def test_the_minute_of_traffic() -> None:
    """Each row of the table is what a client gets, and acme has used what the text says."""
    now = [0]
    app = FastAPI()
    decisions = []

    @app.api_route("/loans", methods=["GET", "POST"])
    @app.get("/loans/{number}")
    async def loans(request: Request) -> None:
        decisions.append(request.scope["ratelimit"])

    app.add_middleware(RateLimitMiddleware, parse_policy(POLICY, "README"), store=MemoryStore(clock=lambda: now[0]))
    client = TestClient(app, headers=AS_ACME)
    assert len(MINUTE) == 11
    for at, method, path, *expected in MINUTE:
        now[0] = int(datetime.fromisoformat(f"2026-03-10T{at}").replace(tzinfo=UTC).timestamp() * 1000)
        answer = client.request(method, path)
        headers = answer.headers
        seen = [str(answer.status_code), headers["x-ratelimit-remaining"], headers.get("retry-after", "")]
        assert seen == expected, (at, path)
    assert decisions[-1].states[1].used == 7
    assert "acme has used 7 of its 50,000 requests" in re.sub(r"\s+", " ", README)


def test_the_five_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mount and the policy of the first page work together as they stand."""
    (tmp_path / "ratelimit.toml").write_text(POLICY)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(PYTHON[0], names)  # noqa: S102 - the README's own lines
    answers = [TestClient(names["app"], headers=AS_ACME).get("/") for _ in range(2)]
    assert [answer.headers["x-ratelimit-limit"] for answer in answers] == ["5", "5"]
    assert len(PYTHON[0].strip().splitlines()) == 5


def test_a_wrong_file_stops_the_server(tmp_path: Path) -> None:
    """Mounted as the README says, an app with a wrong file does not start, and says everything that is wrong."""
    (tmp_path / "ratelimit.toml").write_text(
        POLICY.replace("5/minute", "5/minit").replace('tier = "basic"', 'tier = "basics"')
    )
    (tmp_path / "mounted.py").write_text(PYTHON[0])
    command = [sys.executable, "-m", "uvicorn", "mounted:app", "--app-dir", str(tmp_path), "--port", "0"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "5/minit" in ended.stderr
    assert "basics" in ended.stderr


def test_the_other_python_snippets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snippets on identity, the decision and tests run, one after the other, as a user would paste them."""
    (tmp_path / "ratelimit.toml").write_text(POLICY)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"app": FastAPI(), "load_policy": load_policy}
    for snippet in PYTHON[1:]:
        exec(snippet, names)  # noqa: S102 - the README's own lines
    quota = TestClient(names["app"], headers=AS_ACME).get("/quota")
    assert quota.json() == {"requests": 4, "monthly": 49_999, "in flight": 9}
    for limited in ("limited", "on_fakeredis"):
        assert TestClient(names[limited], headers=AS_ACME).get("/quota").headers["x-ratelimit-remaining"] == "4"


@pytest.mark.parametrize("snippet", TOML[1:])
def test_the_other_toml_snippets(snippet: str) -> None:
    """Each piece of a policy file is right as it stands, added to the first one."""
    parse_policy(f"{POLICY}\n{snippet}", "README")


def test_limits_in_the_text() -> None:
    """Each `field = value` of the text on limits is one that a limit has."""
    section = README[README.index("## The policy file") : README.index("**Operations.**")]
    kinds = re.findall(r"`((?:rate|quota|concurrency) = [^`]+)`", section)
    assert len(kinds) == 4
    policy = (
        '[tiers.anonymous]\nlimits = [{{ name = "x", {} }}]\n[[keys]]\nsha256 = "' + "0" * 64 + '"\ntier = "retail"\n'
    )
    policy += 'attributes = {{ registers = 3 }}\n[tiers.retail]\nlimits = [{{ name = "y", {} }}]'
    for kind in kinds:
        parse_policy(policy.format('rate = "1/minute"', kind), "README")
    fields = re.findall(r"`((?:operations|cost|mode|from|counts) = [^`]+)`", section)
    assert len(fields) == 6
    for field in fields:
        parse_policy(policy.format(f'rate = "9/minute", {field}', 'rate = "1/minute"'), "README")
    parse_policy(policy.format('concurrency = 1, lease = "60s"', 'rate = "1/minute", precision = 60'), "README")


def test_urls_and_variables_of_stores() -> None:
    """Each URL of the text opens a store, with TLS too, and each variable of the environment is one of the code."""
    section = README[README.index("## The store") : README.index("## In your tests")]
    rows = re.findall(r"^\| .+ \| `(\w\S+://\S+)`(?:, with TLS `(\S+://)`)? \|$", section, re.MULTILINE)
    assert len(rows) == 4
    for url, with_tls in rows:
        open_store(url)
        if with_tls:
            open_store(with_tls + url.partition("://")[2] + "?ssl_ca_certs=/etc/ssl/redis-ca.pem")
    variables = re.findall(r"`(RATELIMIT_\w+)`", section)
    sources = "".join(path.read_text() for path in (ROOT / "ratelimit").rglob("*.py"))
    assert len(set(variables)) == 6
    assert [name for name in variables if name not in sources] == []


def test_options_of_styles() -> None:
    """Each option of each style is in the table, of the styles that have it and with its default."""
    rows = re.findall(r"^\| `(\w+)` \| (all|\w+) \| (.+?) \| .+ \|$", README, re.MULTILINE)
    told = {(option, style) for option, of, _ in rows for style in (STYLES if of == "all" else [of])}
    assert told == {(option, style) for style, table in STYLES.items() for option in set(table.model_fields) - {"name"}}
    for option, of, default in rows:
        for style in STYLES if of == "all" else [of]:
            made = parse_policy(f'style = "{style}"\n[tiers.anonymous]\nlimits = []', "README").style
            has = {None: "its own", True: "true", False: "false"}.get(value := getattr(made, option, False), value)
            told_of = dict(re.findall(r"in (\w+) `(.+?)`", default)).get(style) or default.partition(",")[0].strip("`")
            has = "none" if option == "jitter" else has  # which is around the style
            assert told_of.strip('"') == str(has), (option, style)


def test_the_document() -> None:
    """The lines about the OpenAPI document tell the 429 of the first policy."""
    app = FastAPI()
    app.add_api_route("/loans", lambda: None)
    app.add_middleware(RateLimitMiddleware, parse_policy(POLICY, "README"))
    (lines,) = [text for text in PYTHON if "document(app)" in text]
    exec(lines, {"app": app})  # noqa: S102 - the README's own lines
    assert "429" in app.openapi()["paths"]["/loans"]["get"]["responses"]
