"""What is legal and can hardly be meant: each in a file, and a twin that is as it should be."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ratelimit import Identity, MemoryStore, parse_policy
from ratelimit.review.findings import Finding
from ratelimit.review.policy import review

HERE = Path(__file__).parent
NOW = 1_772_445_600_000  # 2026-03-02T10:00:00Z
ODD = sorted((HERE / "odd").glob("*.toml"))
GOOD = sorted((HERE / "good").glob("*.toml"))
VALID = sorted((HERE.parent / "config" / "good").glob("*.toml"))
EXAMPLES = sorted((HERE.parents[1] / "examples").glob("*/ratelimit.toml"))


def found(text: str, **known: bool) -> list[str]:
    return [f"{one.line}: {one.code}: {one}" for one in review(text, "x", NOW, **known).findings]


@pytest.mark.parametrize("path", ODD, ids=lambda path: path.stem)
def test_is_found(path: Path) -> None:
    """What is odd is a warning with its code, its place, its line and what to do; the policy is there."""
    text = path.read_text()
    said = [line.removeprefix("#! ") for line in text.splitlines() if line.startswith("#! ")]
    assert found(text) == said
    assert review(text, "x", NOW).policy is not None


@pytest.mark.parametrize("path", [*GOOD, *EXAMPLES], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_is_good_is_not_found(path: Path) -> None:
    """Nothing is said of its twin, nor of the examples."""
    assert found(path.read_text()) == []


def test_each_has_its_twin() -> None:
    """No oddity is tested without what is nearly one."""
    assert [path.name for path in ODD] == [path.name for path in GOOD]


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What is found is an answer, and is not told twice."""
    with caplog.at_level(logging.DEBUG):
        review((HERE.parent / "config" / "odd" / "rule-covered.toml").read_text(), "x", NOW)
    assert not caplog.records


def test_what_the_loader_warns_of() -> None:
    """It is found too, with its line: a rule that never matches."""
    path = HERE.parent / "config" / "odd" / "rule-covered.toml"
    lines = path.read_text().splitlines()
    for finding in review(path.read_text(), "x", NOW).findings:
        assert (finding.severity, finding.code) == ("warning", "rule-never-matches")
        assert finding.line is not None
        assert finding.sentence.partition('" never')[0].strip('"') in lines[finding.line - 1]


LIMITS = 'limits = [{ name = "x", rate = "1/minute" }]'
TIERS = f"[tiers.anonymous]\n{LIMITS}\n[tiers.basic]\n{LIMITS}"


def test_the_app_says_who_calls() -> None:
    """Whether a tier without a key is odd goes by the app: one that identifies its callers has no need of keys."""
    key = f'[[keys]]\nsha256 = "{"0" * 64}"\ntier = "basic"'
    with_key = f"{TIERS}\n[tiers.pro]\n{LIMITS}\n{key}"
    assert [one.partition(";")[0] for one in found(with_key)] == [
        "5: tier-unused: tiers.pro: no key of the file is of this tier"
    ]
    assert found(with_key, identifies=True) == []
    assert found(with_key, identifies=False) == [f"{found(with_key)[0].rpartition('; ')[0]}"]
    assert found(TIERS) == []
    nobody = "3: tier-unused: tiers.basic: no [[keys]] and no identify of the app say who calls: nobody is of basic; "
    assert found(TIERS, identifies=False) == [f"{nobody}add a key, or give the middleware identify="]


def test_mistakes_come_alone_and_first() -> None:
    """Of a file with mistakes these are told, with their lines, and what the loader finds odd after them."""
    rules = '[operations]\nall = ["* /**"]\nsearch = ["GET /a"]'
    text = f'style = "itef"\n{rules}\n[tiers.anonymous]\nlimits = [{{ name = "x" }}]'
    findings = review(text, "x", NOW).findings
    assert [(one.severity, one.line) for one in findings] == [("error", 1), ("error", 6), ("warning", 4)]
    assert review(text, "x", NOW).policy is None


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", None, "tiers: is missing"),
        ("a = 1\nb = [\n", None, None),
        ("a = 1\nb ! 2\n", 2, None),
        ("style = 1\n[tiers.anonymous]\nlimits = []", 1, None),
        ("x" * 100, None, None),
        ("[[[[", 1, None),
    ],
)
def test_what_is_no_toml(text: str, line: int | None, said: str | None) -> None:
    """The parser's own line is told where there is one."""
    finding = review(text, "x", NOW).findings[0]
    assert finding.severity == "error"
    assert finding.code == "mistake"
    assert finding.line == line
    assert said is None or str(finding) == said


def test_as_data() -> None:
    """A finding is plain data, and what it says is one printable line."""
    finding = Finding("warning", "tier-unused", "tiers.x", "is \x1b[31mred", "mend it", 3)
    assert str(finding) == "tiers.x: is \\x1b[31mred; mend it"
    assert finding.as_data() == {
        "severity": "warning",
        "code": "tier-unused",
        "where": "tiers.x",
        "sentence": "is \x1b[31mred",
        "hint": "mend it",
        "line": 3,
    }


def test_api_keys_are_not_shown() -> None:
    """An API key that stands where it should not is in no finding."""
    text = f'{TIERS}\n[[keys]]\nsha256 = "sk_live_51HxSECRETSECRET"\ntier = "basic"\nsk_live_51HxSECRETSECRET = 1\n'
    findings = review(text, "x", NOW).findings
    assert len(findings) == 2
    assert "SECRET" not in "".join(f"{one}{one.as_data()}{one!r}" for one in findings)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_no_valid_file_is_too_much(path: Path) -> None:
    """Whatever a policy may say can be reviewed."""
    assert review(path.read_text(), "x", NOW).policy is not None


AMOUNTS = st.sampled_from(
    [
        'rate = "{}/second"',
        'rate = "{}/minute"',
        'rate = "{}/hour"',
        'quota = "{}/day"',
        'quota = "{}/week"',
        'quota = "{}/month"',
    ]
)
EXTRA = st.sampled_from(
    ["", ", cost = 2", ', per = "user"', ', operations = ["search"]', ", precision = 3", ', timezone = "Asia/Tokyo"']
)
ONE = st.tuples(AMOUNTS, st.integers(1, 40), EXTRA).filter(
    lambda one: not (("precision" in one[2] and "quota" in one[0]) or ("timezone" in one[2] and "rate" in one[0]))
)


@given(
    st.tuples(ONE, ONE),
    st.lists(
        st.tuples(st.integers(0, 200_000_000), st.sampled_from(["ana", "ben"]), st.sampled_from(["search", "write"])),
        min_size=20,
        max_size=60,
    ),
)
def test_what_is_pointless_never_denies(
    limits: tuple[tuple[str, int, str], ...], calls: list[tuple[int, str, str]]
) -> None:
    """Whatever is asked for, a limit that was found to be pointless is never exceeded alone."""
    written = ", ".join(
        f'{{ name = "{number}", {amount.format(most)}{extra} }}' for number, (amount, most, extra) in enumerate(limits)
    )
    text = f"[tiers.anonymous]\nlimits = [{written}]"
    pointless = [one.where[-2] for one in review(text, "x", NOW).findings if one.code == "limit-pointless"]
    assume(pointless)
    now = [NOW]
    store = MemoryStore(clock=lambda: now[0])
    policy = parse_policy(text)
    for wait, user, operation in calls:
        now[0] += wait if wait > 100_000_000 else wait // 10_000
        who = Identity(organization="acme", user=user, tier="anonymous")
        acquiring = store.acquire(policy.charges(who, operation))
        try:
            acquiring.send(None)
        except StopIteration as done:
            decision = done.value
        exceeded = [state.limit.name for state in decision.states if state.exceeded]
        assert exceeded != pointless, (text, calls)
