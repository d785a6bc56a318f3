"""What a policy file means: every table and field, and what holds where one is not given."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from ratelimit.config import PolicyError, load_policy, parse_policy
from ratelimit.identity import IdentifyByApiKey, hash_api_key
from ratelimit.identity.address import ClientAddress
from ratelimit.launches.stages.launch import Brownout, Cohort, Launch
from ratelimit.model import FOREVER, Concurrency, Identity, Quota, Rate
from ratelimit.operations import ClassifyByRules
from ratelimit.policy import Policy, RecordSettings, StoreSettings, Wait, WebSocketSettings
from ratelimit.stores import open_store
from ratelimit.styles import Facturapi, Ietf, Lendworks, Lightspeed, WithIetfHeaders

GOOD = Path(__file__).parent / "good"
API_KEY = "test"  # of which the good files have the SHA-256
STORE_URLS = (
    *("memory://", "MEMORY://", "redis://db", "redis://db/", "redis://db:6379", "REDIS://db/12", "Rediss://db"),
    *("redis://:p%40ss@[::1]:6379/0", "unix:///run/redis.sock?db=1", "UNIX:///run/redis.sock"),
    *("redis+cluster://h1:7000,h2:7001", "Redis+Cluster://:p%40ss@[::1]:7000,h2/0", "rediss+cluster://h1?protocol=3"),
    *("redis+sentinel://h1:26379,h2:26379/mymaster/0", "Redis+Sentinel://:p%40ss@[::1]/m", "rediss+sentinel://h/m/"),
)
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def good(name: str) -> Policy:
    return load_policy(GOOD / f"{name}.toml")


def scope(method: str, path: str, api_key: str | None = None, client: str = "192.0.2.7") -> dict[str, object]:
    headers = [] if api_key is None else [(b"authorization", b"Bearer " + api_key.encode())]
    return {"type": "http", "method": method, "path": path, "headers": headers, "client": (client, 1)}


def test_defaults() -> None:
    """The smallest file: an anonymous tier, memory, no proxies, the style of the IETF."""
    policy = good("smallest")
    assert policy.tiers == {"anonymous": ()}
    assert policy.store == StoreSettings("memory://", "ratelimit", 100, "allow")
    assert policy.address == ClientAddress((), "x-forwarded-for", 64)
    assert isinstance(policy.identify, IdentifyByApiKey)
    assert policy.identify.sources == ("bearer", "basic", "header:X-API-Key")
    assert isinstance(policy.classify, ClassifyByRules)
    assert policy.classify.rules == ()
    assert policy.style == Ietf()
    assert policy.overrides == ()
    assert policy.default_tier is None


def test_everything() -> None:
    """The file with everything in it, as the documentation has it."""
    policy = good("everything")
    assert {name: [limit.name for limit in limits] for name, limits in policy.tiers.items()} == {
        "anonymous": ["ip"],
        "basic": ["requests", "searches", "monthly", "in flight"],
        "standard": ["requests"],
        "retail": ["till"],
    }
    requests, searches, monthly, in_flight = policy.tiers["basic"]
    assert (requests.kind, requests.max({}), requests.per) == (Rate(60_000, 60), 100, ("api_key",))
    assert (searches.kind, searches.max({}), searches.operations) == (Rate(10_000, 60), 20, frozenset({"search"}))
    assert (monthly.kind, monthly.max({}), monthly.per) == (Quota("month", "UTC", 1), 50_000, ("organization",))
    assert (in_flight.kind, in_flight.max({}), in_flight.per) == (Concurrency(60_000), 10, ("identity",))
    (till,) = policy.tiers["retail"]
    assert (till.kind, till.per) == (Rate(300_000, 60), ("organization", "application"))
    assert till.max({"registers": 3}) == 950
    assert policy.store == StoreSettings("redis://127.0.0.1:6379/0", "ratelimit", 100, "allow")
    assert policy.address == ClientAddress(("10.0.0.0/8",))
    assert policy.default_tier == "basic"
    assert policy.style == Lendworks()
    (override,) = policy.overrides
    assert (override.match, override.until_ms) == ({"organization": "acme"}, 1_798_675_200_000)


def test_a_request_of_a_known_key() -> None:
    """From a scope to its charges: who the key belongs to, what the rules say, which override holds until when."""
    policy = good("everything")
    post = scope("POST", "/v2/invoices", API_KEY)
    identity = policy.identify(post)
    assert isinstance(identity, Identity)
    assert identity == Identity("acme", "ana", SHA256, "till", "192.0.2.7", "standard", {"registers": 3})
    assert policy.classify(post) == "heavy_write"
    assert policy.classify(scope("GET", "/health")) is None
    assert policy.classify(scope("GET", "/v2/catalogs/7")) == "search"
    (charge,) = policy.charges(identity, "heavy_write")
    assert charge.key == "{organization=acme}:requests:60000/60"
    assert charge.maxes == ((1_798_675_200_000, 5000), (FOREVER, 1000))
    anonymous = policy.identify(scope("GET", "/", "unknown"))
    assert anonymous == Identity(ip="192.0.2.7", tier="anonymous")


def test_every_field_of_a_limit() -> None:
    """Each field of a limit is taken over; dates become milliseconds, and one before 1970 is always past."""
    reads, writes, bursts, old, daily, monthly, at_once = good("facturapi").tiers["standard"]
    assert (reads.kind, reads.max({}), reads.per) == (Rate(60_000, 60), 1000, ("identity", "mode"))
    assert reads.operations == frozenset({"detail_read", "search"})
    assert (reads.cost, reads.mode, reads.enforce_from_ms) == (1, "enforce", 0)
    assert (writes.per, writes.cost) == (("mode",), {"heavy_write": 5, "nightly export": 0})
    assert (bursts.kind, bursts.mode, bursts.cost) == (Rate(1000, 1000), "shadow", 2)
    assert bursts.enforce_from_ms == 1_780_264_800_500
    assert (old.kind, old.mode, old.enforce_from_ms) == (Rate(172_800_000, 60), "off", 0)
    assert (daily.kind, daily.max({"seats": 4})) == (Quota("day", "America/Mexico_City", 1), 4000)
    assert monthly.kind == Quota("month", "UTC", 31)
    assert (at_once.kind, at_once.max({"seats": 4})) == (Concurrency(1000), 8)
    weekly, yearly = good("lendworks").tiers["basic"][1:]
    assert (weekly.kind, yearly.kind) == (Quota("week"), Quota("year"))


def test_reserve() -> None:
    """Units are taken ahead of the limits that say so, of no other, and a counter is the same with and without."""
    tiers = good("reserve").tiers
    assert {name: [limit.reserve for limit in limits] for name, limits in tiers.items()} == {
        "anonymous": [False],
        "all": [True, True],
        "some": [True, False, False],
        "one": [True, False],
        "own": [True, False],
        "not_yet": [True, True, True],
        "without": [True, False, False, False],
        "slots": [False, True, True],
    }
    assert not any(limit.reserve for limits in good("everything").tiers.values() for limit in limits)
    text = (GOOD / "reserve.toml").read_text()
    without = parse_policy(text.replace("reserve = true", "reserve = false"), "x")
    acme = Identity("acme", tier="all")
    keys = [charge.key for charge in good("reserve").charges(acme, "search")]
    assert [charge.key for charge in without.charges(acme, "search")] == keys


def test_wait() -> None:
    """Of the tiers that say so, for how long and how many; of the others nobody waits."""
    assert good("wait").waits == {"basic": Wait(2_000, 1_000), "premium": Wait(250, 100)}
    assert good("everything").waits == {}


def test_hold() -> None:
    """Units can be held of the limits that say so and of no other, and a counter is the same with and without."""
    tiers = good("hold").tiers
    assert {name: [limit.hold for limit in limits] for name, limits in tiers.items()} == {
        "anonymous": [False],
        "basic": [False, True, True, False],
        "trial": [True, True],
    }
    assert not any(limit.hold for limits in good("everything").tiers.values() for limit in limits)
    without = parse_policy((GOOD / "hold.toml").read_text().replace("hold = true", "hold = false"), "x")
    acme = Identity("acme", tier="basic")
    keys = [charge.key for charge in good("hold").charges(acme, "completion")]
    assert [charge.key for charge in without.charges(acme, "completion")] == keys


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_launch() -> None:
    """A launch is as its file has it: an instant without one is never, an address as callers are counted by it."""
    requests, monthly, in_flight = good("launch").tiers["basic"]
    acme = {"organization": "acme", "user": "ana", "api_key": SHA256, "application": "till", "mode": "test"}
    assert requests.launch == Launch(
        shadow_until_ms=_ms("2127-02-01T00:00Z"),
        warn=0.8,
        brownouts=(
            Brownout(_ms("2127-01-12T09:00Z"), _ms("2127-01-12T12:00Z")),
            Brownout(_ms("2127-01-19T08:00Z"), _ms("2127-01-19T08:30Z")),
        ),
        cohorts=(
            Cohort(_ms("2127-01-20T00:00Z"), share=0.1),
            Cohort(_ms("2127-01-25T00:00Z"), share=0.25),
            Cohort(_ms("2127-01-10T00:00Z"), acme),
            Cohort(_ms("2127-01-10T00:00Z"), {"ip": "2001:db8:1:2::/64"}, 0.005),
        ),
    )
    assert monthly.launch == Launch()
    assert in_flight.launch == Launch(_ms("2127-02-01T00:00Z"), 1.0)
    assert not any(limit.launch for limits in good("everything").tiers.values() for limit in limits)


def test_modes_of_overrides() -> None:
    """An override has the mode, the instants and the reason of its file, and may name limits without a max of them."""
    shadow, wider, early = good("launch").overrides
    assert (shadow.mode, shadow.limits, dict(shadow.maxes)) == ("shadow", {"requests", "monthly"}, {})
    assert shadow.reason == "their batch jobs move in February, ticket 4711"
    assert (wider.mode, wider.from_ms, wider.until_ms) == (None, _ms("2127-01-15T00:00Z"), _ms("2127-02-15T00:00Z"))
    assert (early.mode, list(early.maxes), early.until_ms) == ("enforce", ["requests"], FOREVER)


def test_outcomes() -> None:
    """What a request comes to says whether it counts; a counter is the same with and without."""
    (tier,) = good("outcomes").tiers.values()
    assert [(limit.charge_on, limit.refund_on) for limit in tier] == [
        (("401", "403"), ()),
        ((), ("5xx", "304")),
        ((), ()),
    ]
    assert not any(
        limit.charge_on or limit.refund_on for limits in good("everything").tiers.values() for limit in limits
    )


def test_websocket() -> None:
    """Messages are charged as the operation that the file names, and are not limited where it names none."""
    assert good("websocket").websocket == WebSocketSettings("message", "drop")
    assert good("everything").websocket == WebSocketSettings(None, "close")


def test_record() -> None:
    """A file that the middleware records requests in; without the table it records none."""
    assert good("record").record == RecordSettings("/var/log/ratelimit.jsonl", 0.1, 2_000_000_000, 9)
    smallest = parse_policy('[record]\nfile = "calls.jsonl"\nsample = 1\n[tiers.anonymous]\nlimits = []')
    assert smallest.record == RecordSettings("calls.jsonl", 1.0, 100_000_000, 5)
    assert good("everything").record is None


def test_every_field_of_an_override() -> None:
    """An override goes by any part of an identity; the address is written as callers are counted by it."""
    (override,) = good("facturapi").overrides
    assert override.match == {
        "organization": "acme",
        "user": "ana",
        "api_key": SHA256,
        "application": "till",
        "ip": "2001:db8:1::/56",
        "tier": "standard",
        "mode": "live",
    }
    maxes = {name: max_of({"seats": 4}) for name, max_of in override.maxes.items()}
    assert maxes == {"daily": 9, "monthly": 400, "at once": 3, "reads": 5}
    assert override.until_ms == 1_798_675_200_123


@pytest.mark.parametrize(
    ("name", "client", "max_of_client"),
    [
        ("lightspeed", "192.0.2.7", 6),
        ("lightspeed", "2001:db8::99", 7),
        ("lightspeed", "", 600),
        ("lightspeed", "192.0.2.8", 60),
        ("lendworks", "2001:db8::7", 7),
        ("lendworks", "2001:db8::8", 60),
    ],
)
def test_override_by_address(name: str, client: str, max_of_client: int) -> None:
    """An override for an address holds for the callers from there, however the address is written."""
    policy = good(name)
    identity = policy.identify(scope("GET", "/", client=client))
    assert isinstance(identity, Identity)
    (charge,) = policy.charges(identity, "search")
    assert charge.maxes == ((FOREVER, max_of_client),)


@pytest.mark.parametrize(
    ("name", "style"),
    [
        ("facturapi", WithIetfHeaders(Facturapi("rate_limit_exceeded", "Slow down.", expose_limits=True, never=429))),
        ("lightspeed", Lightspeed(reset_header=True, legacy_body=True, retry_after="seconds", max_retry_after=3600)),
        ("lendworks", Lendworks(request_id=True, max_retry_after=86400)),
        ("ietf", Ietf(max_retry_after=2_147_000)),
    ],
)
def test_styles(name: str, style: object) -> None:
    """A style takes its own options, and any but the IETF's the IETF's headers beside its own."""
    assert good(name).style == style


@pytest.mark.parametrize(
    ("style", "expected"),
    [("facturapi", Facturapi()), ("lightspeed", Lightspeed()), ("lendworks", Lendworks()), ("ietf", Ietf())],
)
def test_style_by_name(style: str, expected: object) -> None:
    """A style by its name alone has the options that it has by itself."""
    assert parse_policy(f'style = "{style}"\n[tiers.anonymous]\nlimits = []', "x").style == expected


def test_store_and_identity() -> None:
    """What [store] and [identity] say reaches the policy."""
    assert good("lightspeed").store == StoreSettings("unix:///run/redis.sock?db=1", "x-series", 2000, "deny")
    assert good("lendworks").store.url == "rediss://user:pass@[2001:db8::1]:6380"
    policy = good("facturapi")
    assert policy.address == ClientAddress(("unix", "2001:db8::/32"), "forwarded", 56)
    assert isinstance(policy.identify, IdentifyByApiKey)
    assert policy.identify.sources == ("bearer", "basic")
    assert hash_api_key(API_KEY) == SHA256
    assert isinstance(identity := policy.identify(scope("GET", "/", API_KEY)), Identity)
    assert identity.organization == "acme"


@pytest.mark.parametrize("url", STORE_URLS)
def test_store_urls(url: str) -> None:
    """Every address of a store that is supported is taken as it is, and opens."""
    assert parse_policy(f'[store]\nurl = "{url}"\n[tiers.anonymous]\nlimits = []', "x").store.url == url
    assert open_store(url)


@pytest.mark.parametrize(
    ("duration", "milliseconds"),
    [("1ms", 1), ("90s", 90_000), ("2m", 120_000), ("1h", 3_600_000), ("36500d", 3_153_600_000_000)],
)
def test_durations(duration: str, milliseconds: int) -> None:
    """A duration is a whole number and ms, s, m, h or d."""
    text = f'[store]\ntimeout = "{duration}"\n[tiers.anonymous]\nlimits = []'
    assert parse_policy(text, "x").store.timeout_ms == milliseconds


@pytest.mark.parametrize(
    ("rate", "window_ms"),
    [
        ("5/second", 1000),
        ("5/1 second", 1000),
        ("5/10 seconds", 10_000),
        ("5/10seconds", 10_000),
        ("5 / 5 minutes ", 300_000),
        ("5/hour", 3_600_000),
        ("5/2 days", 172_800_000),
    ],
)
def test_windows(rate: str, window_ms: int) -> None:
    """The window of a rate is a number of seconds, minutes, hours or days."""
    text = f'[tiers.anonymous]\nlimits = [{{ name = "a", rate = "{rate}" }}]'
    (limit,) = parse_policy(text, "x").tiers["anonymous"]
    assert (limit.kind, limit.max({})) == (Rate(window_ms, 60), 5)


def test_an_attribute_of_the_users_own() -> None:
    """What is counted per attribute, or computed from one, may come from the user's own identify."""
    text = """
    [tiers.anonymous]
    limits = [{ name = "a", rate = "10 * seats/minute", per = ["branch", "organization_id"] }]
    """
    (limit,) = parse_policy(text, "x").tiers["anonymous"]
    assert (limit.per, limit.max({"seats": 2})) == (("branch", "organization_id"), 20)


def test_overrides_of_one_name_in_two_tiers() -> None:
    """With its tier, an override says which of two limits of one name it is for."""
    text = """
    [tiers.anonymous]
    limits = [{ name = "a", rate = "10/minute" }]
    [tiers.basic]
    limits = [{ name = "a", rate = "10/hour" }]
    [[overrides]]
    tier = "basic"
    limits = { a = "20/hour" }
    """
    assert parse_policy(text, "x").overrides[0].match == {"tier": "basic"}


def test_origin() -> None:
    """Two loads of one file are the same policy; another text or another file is another."""
    path = GOOD / "everything.toml"
    text = path.read_text()
    assert load_policy(path).origin == load_policy(str(path)).origin == parse_policy(text, str(path)).origin
    assert load_policy(path).origin.startswith(f"{path}#")
    assert parse_policy(text + "\n", str(path)).origin != load_policy(path).origin
    assert good("smallest").origin != load_policy(path).origin
    unnamed = parse_policy(text)
    assert unnamed.origin == parse_policy(text).origin == parse_policy(text, "policy").origin


def test_origin_of_one_file_by_several_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is the same policy by whatever path it is loaded, and messages have the path as it was written."""
    (tmp_path / "a.toml").write_text("[tiers.anonymous]\nlimits = []\n")
    (tmp_path / "link.toml").symlink_to("a.toml")
    monkeypatch.chdir(tmp_path)
    paths = ("a.toml", "./a.toml", f"../{tmp_path.name}/a.toml", str(tmp_path / "a.toml"), "link.toml")
    assert len({load_policy(path).origin for path in paths}) == 1
    (tmp_path / "a.toml").write_text("tiers = 5")
    with pytest.raises(PolicyError, match=r"^\./a\.toml: tiers: 5 is not a table"):
        load_policy("./a.toml")
    with pytest.raises(PolicyError, match=r"^policy: tiers: 5 is not a table"):
        parse_policy("tiers = 5")


def test_byte_order_mark(tmp_path: Path) -> None:
    """A file that Windows wrote is read too."""
    path = tmp_path / "ratelimit.toml"
    path.write_bytes(b"\xef\xbb\xbf[tiers.anonymous]\r\nlimits = []\r\n")
    assert load_policy(path).tiers == {"anonymous": ()}


def test_an_override_of_keys_in_several_tiers() -> None:
    """An attribute that an override needs is asked of the keys in a tier with that limit, of no other."""
    key = '[[keys]]\nsha256 = "{}"\norganization = "acme"\ntier = "{}"\n'
    policy = parse_policy(
        "[tiers.anonymous]\nlimits = []\n[tiers.free]\nlimits = []\n"
        '[tiers.basic]\nlimits = [{ name = "a", rate = "1/minute" }]\n'
        + key.format("0" * 64, "free")
        + key.format("1" * 64, "basic")
        + "attributes = { seats = 3 }\n"
        + '[[overrides]]\norganization = "acme"\nlimits = { a = "seats/minute" }\n'
    )
    assert policy.overrides[0].maxes["a"]({"seats": 3}) == 3
