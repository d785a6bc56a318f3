"""Access logs that are named on the command line, and how their lines are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from ratelimit.cli.output.exits import Stopped

if TYPE_CHECKING:
    from ratelimit.simulate.logs.formats import Format
    from ratelimit.simulate.logs.own import Mapped
    from ratelimit.simulate.logs.sources import Source


class LogFormat(StrEnum):
    NGINX = "nginx"
    CADDY = "caddy"
    TRAEFIK = "traefik"
    UVICORN = "uvicorn"
    GUNICORN = "gunicorn"
    ALB = "alb"
    CLOUDFRONT = "cloudfront"
    JSON = "json"
    RATELIMIT = "ratelimit"


class Logs(NamedTuple):
    """Open, with the format of each."""

    sources: list[Source]
    formats: tuple[Format, ...]
    begins: tuple[int, ...]
    guessed: bool
    mapped: Mapped


@contextmanager
def opened(
    names: Sequence[str], log_format: LogFormat | None, own: str | None, mapping: Sequence[str], timezone: str
) -> Iterator[Logs]:
    """The logs, which are closed behind it. Stopped says what is wrong with them, or with what is said of them, also
    where that shows only while they are read."""
    from ratelimit.simulate.logs.guess import looked_at
    from ratelimit.simulate.logs.own import MapError, PatternError, mapping_of, pattern
    from ratelimit.simulate.logs.sources import LogError, Source
    from ratelimit.simulate.run import zone_of

    if own is not None and log_format is not None:
        raise Stopped("--log-format and --pattern are two ways to say how the lines are written; give one of them")
    try:
        zone = zone_of(timezone)
    except (ValueError, OSError, KeyError):  # a KeyError of a zone that is not there
        raise Stopped(f"--timezone {timezone}: is no time zone; write a name such as Europe/Madrid") from None
    with ExitStack() as closing:
        try:
            mapped = mapping_of([text for texts in mapping for text in texts.split()])
            sources = []
            for name in names:
                source = Source(name)
                closing.callback(source.close)
                sources.append(source)
            formats, begins = looked_at(sources, mapped, log_format if own is None else pattern(own), zone)
            yield Logs(sources, formats, begins, own is None and log_format is None, mapped)
        except (LogError, MapError, PatternError) as error:
            raise Stopped(str(error)) from None
