"""Where the app has sent one field of a family of headers, none of ours of that family is added: numbers never mix."""

from __future__ import annotations

import pytest

from ratelimit.answers import headers as answers
from ratelimit.launches import upcoming
from ratelimit.model import Answer, Headers
from ratelimit.styles import Facturapi, Lendworks, Lightspeed, WithIetfHeaders
from tests.acceptance import ask, in_order, limited, run

LENDWORKS = {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-window"}
IETF = {"ratelimit", "ratelimit-policy"}
BOTH = WithIetfHeaders(Lendworks())


class Own:
    """A style with fields of every kind."""

    log_id_header = None

    def headers(self, decision, identity, log_id) -> Headers:
        return [(b"retry-after", b"7"), (b"x-left", b"2"), (b"x-ratelimit-limit", b"3")]

    def denied(self, decision, identity, log_id) -> Answer:
        raise NotImplementedError

    def unavailable(self, log_id) -> Answer:
        raise NotImplementedError


def app_with(*names: str, kind: type = list):
    async def app(scope, receive, send) -> None:
        headers = kind([[name.encode(), b"theirs"] for name in names])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    return app


@pytest.mark.parametrize(
    ("theirs", "added"),
    [
        ((), LENDWORKS | IETF),
        (("content-type", "date", "x-rate"), LENDWORKS | IETF),
        (("x-ratelimit-reset",), IETF),
        (("X-RateLimit-Limit", "X-RateLimit-Remaining"), IETF),
        (("X-RATELIMIT-RETRYAFTER",), IETF),  # of no style of ours, and yet of the family
        (("ratelimit",), LENDWORKS),
        (("RateLimit-Policy",), LENDWORKS),
        (("RateLimit-Remaining",), LENDWORKS),  # of earlier drafts
        (("ratelimit-reset", "x-ratelimit-limit"), set()),
        (("retry-after",), LENDWORKS | IETF),
        (("X-RateLimit",), IETF),
        (("x-my-x-ratelimit-limit", "ratelimits", "x-ratelimited"), LENDWORKS | IETF),  # other names that hold these
    ],
    ids=in_order,
)
@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_a_family_is_whole(theirs, added, kind) -> None:
    """Any one field, in whatever case and from whatever iterable, keeps all of ours of its family out."""

    async def test() -> None:
        start, _ = await ask(limited(app_with(*theirs, kind=kind), style=BOTH))
        own = [(name.encode(), b"theirs") for name in theirs]
        assert [tuple(field) for field in start["headers"]][: len(own)] == own
        assert {name.decode() for name, _ in start["headers"][len(own) :]} == added

    run(test())


@pytest.mark.parametrize(
    ("theirs", "added"),
    [
        ("retry-after", {"x-left", "x-ratelimit-limit"}),
        ("X-Left", {"retry-after", "x-ratelimit-limit"}),
        ("x-ratelimit-reset", {"retry-after", "x-left"}),
        ("x-left-over", {"retry-after", "x-left", "x-ratelimit-limit"}),
    ],
)
def test_other_headers_are_families_of_one(theirs, added) -> None:
    """Retry-After stands alone, and so does any other header that a style has."""

    async def test() -> None:
        start, _ = await ask(limited(app_with(theirs), style=Own()))
        assert {name.decode() for name, _ in start["headers"][1:]} == added

    run(test())


def test_only_what_goes_out_is_exposed() -> None:
    """A script of another origin is shown the names that we added, not those that we kept out."""

    async def test() -> None:
        limiter = limited(app_with("x-ratelimit-reset"), style=BOTH)
        start, _ = await ask(limiter, origin="https://a.example")
        assert dict(start["headers"][1:])[b"access-control-expose-headers"] == b"ratelimit-policy, ratelimit"

    run(test())


@pytest.mark.parametrize("theirs", ["date", "x-of-nobody-else"])
def test_all_is_exposed_beside_other_headers(theirs) -> None:
    """Whether or not many apps send them."""

    async def test() -> None:
        start, _ = await ask(limited(app_with(theirs), style=BOTH), origin="https://a.example")
        exposed = dict(start["headers"])[b"access-control-expose-headers"].decode()
        assert set(exposed.split(", ")) == LENDWORKS | IETF

    run(test())


def test_the_log_id_of_the_app() -> None:
    """The app's own log id is kept, beside a family of its own too."""

    async def test() -> None:
        app = app_with("X-Facturapi-Log-Id", "x-ratelimit-limit")
        start, _ = await ask(limited(app, style=Facturapi(expose_limits=True)))
        assert len(start["headers"]) == 2

    run(test())


class OfLendworks(Lendworks):
    """A style of ours with a header of somebody else's, which many an app sends too."""

    def headers(self, decision, identity, log_id) -> Headers:
        return [*super().headers(decision, identity, log_id), (b"x-request-id", b"ours")]


@pytest.mark.parametrize("style", [OfLendworks(), WithIetfHeaders(OfLendworks())], ids=["own", "in one of ours"])
def test_usual_headers_in_a_style_of_somebody_else(style) -> None:
    """What an app sends is the app's, also where a style that is not ours has taken its name."""

    async def test() -> None:
        for theirs, value in ((("date", "x-request-id"), b"theirs"), (("date",), b"ours")):
            start, *_ = await ask(limited(app_with(*theirs), style=style))
            assert [v for name, v in start["headers"] if name == b"x-request-id"] == [value]

    run(test())


def test_names_of_ours_are_not_usual() -> None:
    """Where only usual names come from the app, no style of this package need look for its own among them."""

    async def test() -> None:
        for style in (BOTH, Facturapi(expose_limits=True), Lightspeed(reset_header=True)):
            start, *_ = await ask(limited(app_with(), style=style))
            assert answers.apart(style)
            assert start["headers"]
            assert answers._USUAL.isdisjoint(name for name, _ in start["headers"])
        assert upcoming.HEADER not in answers._USUAL

    run(test())
