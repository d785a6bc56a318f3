"""What changes where one policy takes the place of another: each kind of edit in a sentence, with what begins at 0."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest
from fastapi import Depends, FastAPI

from ratelimit import Limit, Rate, operation, parse_policy
from ratelimit.comparison.callers import NAMED
from ratelimit.comparison.changes import said
from ratelimit.comparison.routes import compare_routes
from ratelimit.comparison.settings import compare_settings
from ratelimit.comparison.whole import compare
from ratelimit.policy import Override
from tests.comparison import changed, edited, only, sentences
from tests.explanation import NOW, own_identify, policy
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]

BASIC = "tier basic (3 keys)"


def test_nothing() -> None:
    """The same policy changes nothing for anybody; comments, and an order that comes to the same, are no change."""
    found = changed(
        ("[operations]", "# words\n[operations]"), ('"GET /health", "* /docs/**"', '"* /docs/**", "GET /health"')
    )
    assert not found
    assert (found.changes, found.callers) == ((), ())


@pytest.mark.parametrize(
    ("before", "after", "sentence", "effect", "anew"),
    [
        (
            '"100/minute"',
            '"90/minute"',
            "tier paid (1 key): requests is lowered from 100/minute to 90/minute",
            "lowered",
            False,
        ),
        (
            '"100/minute"',
            '"90/hour"',
            "tier paid (1 key): requests is changed from 100/minute to 90/hour: its counters begin at 0, as that is in"
            " their names",
            "changed",
            True,
        ),
        (
            '"(10 * seats + 1)/5 minutes"',
            '"(10 * seats + 2)/5 minutes"',
            f"{BASIC}: requests is changed from (10 * seats + 1)/5 minutes to (10 * seats + 2)/5 minutes",
            "changed",
            False,
        ),
        ('"2/minute"', '"3/minute"', "anonymous callers: ip is raised from 2/minute to 3/minute", "raised", False),
        (
            "heavy = 5 }",
            "heavy = 6 }",
            f"{BASIC}: requests: cost is heavy = 6, which was heavy = 5",
            "changed",
            False,
        ),
        (
            ", operations = [] }",
            " }",
            f"{BASIC}: hand: operations is all, which was []",
            "changed",
            False,
        ),
        (
            "from = 2026-03-03T00:00:00Z, ",
            "",
            f"{BASIC}: soon: from is the beginning, which was 2026-03-03T00:00:00Z",
            "changed",
            False,
        ),
        ('mode = "shadow", ', "", f"{BASIC}: tried: mode is enforce, which was shadow", "changed", False),
        (
            '"organization", "user"]',
            '"organization"]',
            f"{BASIC}: monthly: per is [organization], which was [organization, user]: its counters begin at 0, as that"
            " is in their names",
            "changed",
            True,
        ),
        (
            '"500/month"',
            '"500/month", timezone = "Europe/Berlin"',
            f"{BASIC}: monthly: timezone is Europe/Berlin, which was UTC",
            "changed",
            False,
        ),
        (
            '"500/month"',
            '"500/month", anchor_day = 3',
            f"{BASIC}: monthly: anchor_day is 3, which was 1",
            "changed",
            False,
        ),
        (
            "concurrency = 2",
            "concurrency = 3",
            f"{BASIC}: at once is raised from 2 at a time to 3 at a time",
            "raised",
            False,
        ),
        (
            "concurrency = 2",
            'concurrency = 2, lease = "30s"',
            f"{BASIC}: at once: lease is 30 seconds, which was 1 minute",
            "changed",
            False,
        ),
        (
            '"100/minute"',
            '"100/minute", precision = 6',
            "tier paid (1 key): requests: precision is 6, which was 60: its counters begin at 0, as that is in their"
            " names",
            "changed",
            True,
        ),
        (
            'name = "hand"',
            'name = "arm"',
            f"{BASIC}: hand is called arm now: its counters begin at 0, as that is in their names",
            "changed",
            True,
        ),
        (
            '{ name = "gone", rate = "1/minute", mode = "off" },',
            "",
            f"{BASIC}: gone is removed, which was 1/minute (off)",
            "removed",
            False,
        ),
        (
            '{ name = "requests", rate = "100/minute" }',
            '{ name = "requests", rate = "100/minute" }, { name = "more", quota = "9/day" }',
            "tier paid (1 key): more is added, 9/day",
            "added",
            True,
        ),
        (
            'limits = { monthly = "700/month" }',
            'limits = { monthly = "600/month" }',
            "the override for organization = acme: monthly is lowered from 700 to 600",
            "lowered",
            False,
        ),
        (
            'limits = { monthly = "700/month" }',
            'limits = { "at once" = 5, monthly = "700/month" }',
            "the override for organization = acme: at once is added from the tier to 5",
            "added",
            False,
        ),
        (
            "until = 2026-04-01T00:00:00Z",
            "",
            "the override for organization = acme ends never, not 2026-04-01T00:00:00Z",
            "changed",
            False,
        ),
        (
            'heavy  = ["POST /v2/invoices", ',
            "heavy  = [",
            "POST /v2/invoices is create, which was heavy",
            "changed",
            False,
        ),
    ],
)
def test_edits(before: str, after: str, sentence: str, effect: str, anew: bool) -> None:
    """One edit is one change, in a sentence."""
    change = only(changed((before, after)))
    assert (change.sentence, change.effect, change.anew) == (sentence, effect, anew)


@pytest.mark.parametrize(
    ("before", "after", "said_so"),
    [
        (
            '[[overrides]]\norganization = "acme"\nlimits = { monthly = "700/month" }\nuntil = 2026-04-01T00:00:00Z',
            "",
            "the override for organization = acme is removed: monthly = 700 until 2026-04-01T00:00:00Z",
        ),
        (
            "[tiers.paid]",
            '[tiers.new]\nlimits = [{ name = "a", rate = "1/day" }]\n[tiers.paid]',
            "the tier new is added: 1/day",
        ),
        ("[tiers.paid]", "[tiers.new]\nlimits = []\n[tiers.paid]", "the tier new is added: no limits"),
    ],
)
def test_added_and_removed(before: str, after: str, said_so: str) -> None:
    """What is there no more, and what was not there."""
    assert only(changed((before, after))).sentence == said_so
    opposite = only(compare(edited((before, after)), policy(), NOW))
    assert opposite.effect == ("added" if "removed" in said_so else "removed")


def test_tier_is_gone() -> None:
    """Of a tier that is removed it is said as what its callers count."""
    text = '[tiers.anonymous]\nlimits = []\n[tiers.gone]\nlimits = [{ name = "a", rate = "1/day" }]'
    found = changed(("[tiers.gone]", "[tiers.other]"), text=text)
    assert sentences(found) == [
        "the tier gone is removed: 1/day; who is of it counts by the default tier, else as anonymous",
        "the tier other is added: 1/day",
    ]


def test_renamed_and_changed() -> None:
    """A limit that is called otherwise, with another max."""
    found = changed(('name = "hand", rate = "1/minute"', 'name = "arm", rate = "2/minute"'))
    assert [one.effect for one in found.changes] == ["changed", "raised"]
    assert found.changes[1].sentence == f"{BASIC}: arm is raised from 1/minute to 2/minute"


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            "",
            'style = "lendworks"',
            "denials are told as lendworks (request_id = false, max_retry_after = 86400, never = 403)",
        ),
        (
            "",
            'style = { name = "lendworks", ietf_headers = true }',
            "denials are told as lendworks (request_id = false,",
        ),
        (
            "",
            '[store]\nprefix = "b"',
            "[store] prefix is b, which was ratelimit: all counters begin at 0, as their names",
        ),
        ("", '[store]\ntimeout = "50ms"', "[store] timeout is 50, which was 100; in force from the next start on"),
        (
            "",
            '[store]\nurl = "redis://u:geheim@h:1/0"',
            "[store] url is another one: where RATELIMIT_STORE_URL does not",
        ),
        ("", '[identity]\napi_key = ["basic"]', "API keys are looked for in [basic], before in [bearer, basic,"),
        ("", "[identity]\nipv6_prefix = 48", "[identity] ipv6_prefix is 48, which was 64: IPv6 callers begin at 0"),
        ("", "[identity]\ntrusted_hops = 1", "[identity] trusted_hops is 1, which was nothing: callers are counted by"),
        ("", '[identity]\ndefault_tier = "anonymous"', "default_tier is anonymous, which was nothing"),
        ("", '[websocket]\nmessages = "search"', "[websocket] messages is search, which was nothing"),
        (
            "",
            '[tiers.anonymous.wait]\nup_to = "2s"',
            "tier anonymous: who is denied waits 2 seconds, 100 at a time, before not",
        ),
    ],
)
def test_settings(before: str, after: str, sentence: str) -> None:
    """What a policy says besides its limits; no password is shown."""
    text = '%s\n[tiers.anonymous]\nlimits = [{ name = "ip", rate = "1/minute" }]'
    if "wait" in after:
        old, new = parse_policy(text % ""), parse_policy(f"{text % ''}\n{after}")
    else:
        old, new = parse_policy(text % before), parse_policy(text % after)
    change = only(compare(old, new, NOW))
    assert change.sentence.startswith(sentence)
    assert "geheim" not in str(asdict(change))
    assert change.anew == ("begin" in change.sentence or "url" in change.where)
    assert only(compare(new, old, NOW)).where == change.where


def test_what_files_do_not_say() -> None:
    """Policies of a program: with a classify and an identify of its own, fields that are added, a style of its own."""

    class Own:
        pass

    @dataclass(frozen=True)
    class Table:
        every: int

    made = policy()
    own = replace(made, identify=own_identify, classify=lambda scope: "search", address=lambda scope: "", overrides=())
    assert sentences(compare(own, own, NOW)) == []
    assert not list(compare_routes(own, own))
    limit = Limit("own", Rate(60_000), lambda attributes: 7)
    computed = replace(own, tiers={"anonymous": (limit,)})
    more = replace(own, tiers={"anonymous": (replace(limit, max=lambda attributes: 8),)}, style=Own())  # type: ignore[arg-type]
    told = sentences(compare(computed, more, NOW))
    assert told[0] == "anonymous callers: own is raised from 7/minute to 8/minute"
    assert told[1].startswith("denials are told as own, before as ietf (")
    extended = replace(own)
    object.__setattr__(extended, "default_tier", Table(1))
    other = replace(own)
    object.__setattr__(other, "default_tier", Table(2))
    assert [one.sentence for one in compare_settings(extended, other)] == ["[default_tier] every is 2, which was 1"]


def test_overrides_of_a_program() -> None:
    """The max of an override that a program computes is told as it comes out."""
    made = policy()
    own = tuple(replace(one, maxes={"monthly": lambda attributes: 5}) for one in made.overrides[:1])
    told = sentences(compare(replace(made, overrides=own), replace(made, overrides=()), NOW))
    assert told == ["the override for organization = acme is removed: monthly = 5 until 2026-04-01T00:00:00Z"]


def test_several_for_the_same() -> None:
    """Of overrides for the same the last counts: they are compared from the end."""
    text = '[tiers.anonymous]\nlimits = [{ name = "a", rate = "9/day" }]\n'
    one, two = (f'[[overrides]]\nip = "192.0.2.7"\nlimits = {{ a = "{most}/day" }}\n' for most in (1, 2))
    assert sentences(compare(parse_policy(text + one + two), parse_policy(text + two), NOW)) == [
        "the override for ip = 192.0.2.7 is removed: a = 1"
    ]
    assert sentences(compare(parse_policy(text + one + two), parse_policy(text + two + one), NOW)) == [
        "the override for ip = 192.0.2.7: a is lowered from 2 to 1",
        "the override for ip = 192.0.2.7: a is raised from 1 to 2",
    ]


def both(old: str, new: str) -> list[str]:
    return sentences(compare(parse_policy(old, "old"), parse_policy(new, "new"), NOW))


def test_stages_of_overrides() -> None:
    """Of what an override does besides a max, and from when on, nothing is a number of milliseconds."""
    bare = '[tiers.anonymous]\nlimits = [{ name = "a", rate = "9/day" }, { name = "b", rate = "9/hour" }]\n'
    one = '[[overrides]]\nip = "192.0.2.7"\nlimits = { a = "1/day" }\n'
    two = f'{one}from = 2026-04-01T00:00:00Z\nmode = "shadow"\nreason = "asked for"\n'
    all_of_it = "a = 1, a in shadow from 2026-04-01T00:00:00Z"
    assert both(bare, bare + two) == [f"the override for ip = 192.0.2.7 is added: {all_of_it}"]
    assert both(bare + one, bare + two) == [
        "the override for ip = 192.0.2.7 begins 2026-04-01T00:00:00Z, not at once",
        "the override for ip = 192.0.2.7: mode is shadow, which was nothing",
        "the override for ip = 192.0.2.7: reason is asked for, which was nothing",
    ]
    listed = '[[overrides]]\nip = "192.0.2.7"\nlimits = ["b", "a"]\nmode = "enforce"\n'
    assert both(bare, bare + listed) == ["the override for ip = 192.0.2.7 is added: a, b enforced"]


def test_limits_that_are_launched() -> None:
    """Of a limit that comes, whether it denies yet."""
    bare = '[tiers.anonymous]\nlimits = [{ name = "a", rate = "9/day" }]\n'
    said = []
    for how in ('mode = "shadow"', "from = 2099-01-01T00:00:00Z", "launch = { shadow_until = 2099-01-01T00:00:00Z }"):
        said += both(bare, bare.replace("}]", f'}}, {{ name = "b", rate = "1/day", {how} }}]'))
    assert [sentence.partition("b is added, ")[2] for sentence in said] == [
        "1/day (shadow)",
        "1/day (from 2099-01-01T00:00:00Z)",
        "1/day (in launch)",
    ]


def test_fields_of_overrides_to_come() -> None:
    """A field that an override gets is compared as well."""

    made = policy()
    of = made.overrides[0]
    one, other = (
        replace(made, overrides=(Override(of.match, of.maxes, of.until_ms, reason=reason),))
        for reason in ("none", "a launch")
    )
    assert sentences(compare(one, other, NOW)) == [
        "the override for organization = acme: reason is a launch, which was none"
    ]


def test_waits() -> None:
    """Of waits only what changes is told."""
    text = '[tiers.anonymous]\nlimits = [{ name = "a", rate = "9/day" }]\nwait = { up_to = "2s" }\n'
    text += '[tiers.more]\nlimits = [{ name = "a", rate = "9/day" }]\nwait = { up_to = "3s" }\n'
    assert sentences(changed(('"3s"', '"4s"'), text=text)) == [
        "tier more: who is denied waits 4 seconds, 100 at a time, before 3 seconds, 100 at a time"
    ]


def test_rules_for_all_methods() -> None:
    """Of a rule for all methods those that change alike are told together."""
    assert sentences(changed(('"* /docs/**"]', "]"))) == [
        "GET /docs/** is search, which was exempt",
        "POST /docs/** is create, which was exempt",
        "PUT,PATCH,DELETE /docs/** is write, which was exempt",
        "WEBSOCKET /docs/** is connect, which was exempt",
    ]


def test_app() -> None:
    """With an app, operations are compared route by route."""
    app = FastAPI()

    @app.post("/v2/invoices")
    async def invoices() -> str:
        return ""

    @app.get("/own")
    @operation("odd")
    async def own() -> str:
        return ""

    @app.websocket("/live")
    async def live(websocket: Any) -> None:
        pass

    app.mount("/files", lambda scope, receive, send: None)
    new = edited(('heavy  = ["POST /v2/invoices", ', 'heavy = ["* /files/**", "WEBSOCKET /live", '))
    told = [change.sentence for change in compare_routes(policy(), new, app)]
    assert told == [
        "POST /v2/invoices is create, which was heavy",
        "WEBSOCKET /live is heavy, which was connect",
        "* /files is heavy, which was search",
    ]


def test_limits_in_code_that_contradict() -> None:
    """A limit that an endpoint declares, of the name of one of a tier, is wrong under that policy: that is raised."""
    from ratelimit.fastapi import limit

    app = FastAPI()

    @app.get("/exports", dependencies=[Depends(limit("5/hour", name="ip"))])
    async def exports() -> str:
        return ""

    with pytest.raises(ValueError, match='is a limit of the tier "anonymous" too'):
        compare(policy(), policy(), NOW, app)


def test_for_whom() -> None:
    """Callers are told in groups for which the same changes, with what it comes to for them."""
    found = changed(('"500/month"', '"5000/month"'), ('"100/minute"', '"200/minute"'))
    told = [
        (group.tiers, [(one.limit, one.before, one.after) for one in group.limits], group.count)
        for group in found.callers
    ]
    assert told == [
        (("paid", "paid"), [("requests", "100/minute", "200/minute")], 1),
        (("basic", "basic"), [("monthly", "500/month", "5000/month")], 1),
    ]
    assert (
        found.callers[1].callers[0].startswith("organization=both (key ")
    )  # acme has overrides, and sees nothing of it


def test_key_of_another_tier() -> None:
    """A key that changes its tier keeps the counters that have the same name; the others are told."""
    found = changed(('tier = "basic"\norganization = "both"', 'tier = "paid"\norganization = "both"'))
    [group] = found.callers
    assert group.tiers == ("basic", "paid")
    assert group.limits[0].limit == "requests"
    assert (group.limits[0].before, group.limits[0].after, group.limits[0].anew) == ("11/5 minutes", "100/minute", True)
    assert [one.after for one in group.limits[1:]] == [None] * (len(group.limits) - 1)
    assert found.changes == ()


def test_keys_that_come_and_go() -> None:
    """Keys that are new, gone, or of another organization, whose counters are others then."""
    one = parse_policy(KEYED % ("a" * 64, "acme"))
    other = parse_policy(KEYED % ("a" * 64, "other"))
    new = parse_policy(KEYED % ("b" * 64, "acme"))
    [group] = compare(one, other, NOW).callers
    assert group.callers == ("organization=acme → organization=other (key aaaaaaaa…)",)
    assert [(two.anew, two.before, two.effect) for two in group.limits] == [(True, "5/minute", "changed")]
    removed, added = compare(one, new, NOW).callers
    assert (removed.tiers, added.tiers) == (("basic", None), (None, "basic"))
    assert (removed.limits[0].effect, added.limits[0].effect) == ("removed", "added")


KEYED = """
[[keys]]
sha256 = "%s"
tier = "basic"
organization = "%s"
[tiers.anonymous]
limits = []
[tiers.basic]
limits = [{ name = "requests", rate = "5/minute" }]
"""


def test_many() -> None:
    """Of many callers the first are named, and all are counted."""
    keys = "".join(f'[[keys]]\nsha256 = "{number:064x}"\ntier = "basic"\nuser = "u{number}"\n' for number in range(50))
    text = keys + '[tiers.anonymous]\nlimits = []\n[tiers.basic]\nlimits = [{ name = "a", rate = "5/minute" }]'
    [group] = changed(('"5/minute"', '"5/minute", mode = "shadow"'), text=text).callers
    assert (len(group.callers), group.count) == (NAMED, 50)
    assert group.limits[0].after == "5/minute in shadow"


def test_anonymous() -> None:
    """Anonymous callers are a group of their own."""
    [group] = changed(('"2/minute"', '"3/minute"')).callers
    assert group.callers == ("callers without a known API key",)


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (None, "nothing"), (frozenset({"b", "a"}), "[a, b]"), ({}, "nothing"), (3, "3")]
)
def test_said(value: object, text: str) -> None:
    """Values are told as a file has them."""
    assert said(value) == text
