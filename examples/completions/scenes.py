"""What the demo does to the API that sells tokens."""

from __future__ import annotations

from typing import Any

from examples.completions.keys import STUDENT, STUDIO, STUDIO_BATCH
from examples.wire import Api, Expected

PATH = "/v1/completions"
EXCEEDED = '"type":"https://iana.org/assignments/http-problem-types#quota-exceeded"'


def play(api: Api) -> None:
    _an_answer(api)
    _a_stream(api)
    _a_model_that_fails(api)
    _no_tokens_left(api)
    _without_a_key(api)


def _an_answer(api: Api) -> None:
    answer = api.send("POST", PATH, STUDIO, json=_asked("to be or not", 1_000))
    what = "1,000 tokens are held, 16 are used: the header tells what is left after all"
    api.show(what, answer, Expected(200, has={"ratelimit": _left("tokens", 30_000 - 16)}, says='"tokens":16'))
    answer = api.send("POST", PATH, STUDIO_BATCH, json=_asked("to be", 100))
    what = "another key of that organization: the same tokens"
    api.show(what, answer, Expected(200, has={"ratelimit": _left("tokens", 30_000 - 16 - 8)}))


def _a_stream(api: Api) -> None:
    answer = api.send("POST", PATH, STUDENT, json=_asked("one two three", 400, stream=True))
    api.show("a stream, which settles as it goes", answer, Expected(200, says="three two one three two one "))
    api.check("12 tokens used by it", _usage(api, STUDENT)["tokens"] == 500 - 12)
    words = "word " * 80
    first = api.begin("POST", PATH, STUDENT, json=_asked(words, 400, stream=True))
    api.check("a first token of a stream whose client then hangs up", first.startswith("word "))
    left = api.until(lambda: _usage(api, STUDENT)["tokens"], lambda left: left > 500 - 12 - 400)
    api.check("that who hung up paid for what was made by then", 500 - 12 - 320 < left < 500 - 12 - 80)


def _a_model_that_fails(api: Api) -> None:
    before = _usage(api, STUDIO)
    answer = api.send("POST", PATH, STUDIO, json=_asked("fail", 1_000))
    api.show("a model that fails: neither the request nor a token counts", answer, Expected(503))
    after = _usage(api, STUDIO)
    api.check("one request less, for the look at what is left", before["requests"] - after["requests"] == 1)


def _no_tokens_left(api: Api) -> None:
    answer = api.send("POST", PATH, STUDENT, json=_asked("one two", 480))
    expected = Expected(429, has={"retry-after": "[1-9][0-9]?"}, says='"violated-policies":["tokens"]')
    api.show("an answer that may take more tokens than are left in this minute: a 429 from inside", answer, expected)
    answer = api.send("POST", PATH, STUDENT, json=_asked("one two", 501))
    expected = Expected(403, lacks=("retry-after",), says="it costs 501 and its limit allows 500")
    api.show("one that may take more than a minute has: it can never pass", answer, expected)
    answer = api.send("POST", PATH, STUDENT, json=_asked("one two", 480, stream=True))
    api.show("a stream has sent its 200 by then, and says so itself", answer, Expected(200, says="no tokens left"))


def _without_a_key(api: Api) -> None:
    answer = api.send("POST", PATH, json=_asked("one", 10))
    api.show("a request without an API key, which the app refuses", answer, Expected(401))


def _asked(prompt: str, most: int, *, stream: bool = False) -> dict[str, Any]:
    return {"prompt": prompt, "max_tokens": most, "stream": stream}


def _usage(api: Api, api_key: str) -> dict[str, int]:
    left: dict[str, int] = api.send("GET", "/v1/usage", api_key).json()["left"]
    return left


def _left(name: str, units: int) -> str:
    return f'.*"{name}";r={units};.*'
