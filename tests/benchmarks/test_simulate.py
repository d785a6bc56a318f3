"""The measure of simulations, on few lines, and the logs that it makes up."""

from __future__ import annotations

import pytest

from benchmarks import access_logs, simulate


def test_the_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs the command itself, and says of each goal whether it is reached."""
    monkeypatch.setattr(simulate, "LINES", {"short": 2_000})
    monkeypatch.setattr(simulate, "OTHERS", 1)
    monkeypatch.setattr(simulate, "CALLERS", 50)
    monkeypatch.setattr(simulate, "ROUNDS", {"short": 1})
    monkeypatch.setattr(simulate, "run", lambda *_: simulate.Run(1.0, 0.5, 100.0))
    section = simulate.measure(short=True)
    assert [figure.value for figure in section.figures] == [4_000, 100, 1.0]
    assert [figure.reached for figure in section.figures] == [False, True, False]


def test_one_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Time and memory are those of the process that read the log; what fails is no figure."""
    folder = tmp_path_factory.mktemp("simulate")
    policy = folder / "ratelimit.toml"
    policy.write_text(simulate.POLICY)
    log = simulate.write(folder, "nginx", 200)
    assert log.read_text().count("\n") == 200
    run = simulate.run(policy, log)
    assert run.cpu > 0
    assert 10 < run.megabytes < 300
    with pytest.raises(RuntimeError, match="ended with 2"):
        simulate.run(folder / "nothing.toml", log)


@pytest.mark.parametrize("name", access_logs.FORMATS)
def test_logs_are_the_same_for_a_seed(name: str) -> None:
    """Whoever measures has the same lines; another seed gives others."""
    one = [*access_logs.lines(300, 20, name)]
    assert one == [*access_logs.lines(300, 20, name)]
    assert one != [*access_logs.lines(300, 20, name, seed=2)]


def test_lines_are_written_when_requests_are_over() -> None:
    """As by a server: in the order of their ends, where the format is written then."""
    made = [*access_logs.written(access_logs.requests(6_000, 20), "nginx")]
    ends = [one.at_ms + one.took_ms for one in made]
    assert ends == sorted(ends)
    assert [one.at_ms for one in made] != sorted(one.at_ms for one in made)


def test_as_a_program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes as many lines as were asked for."""
    monkeypatch.setattr("sys.argv", ["access_logs", "30", "--callers", "5", "--format", "caddy"])
    access_logs.main()
    assert capsys.readouterr().out.count("\n") == 30
