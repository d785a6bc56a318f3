"""How a Decision is told to the client: one small module a style."""

from ratelimit.styles.facturapi import Facturapi
from ratelimit.styles.ietf import Ietf, WithIetfHeaders
from ratelimit.styles.jitter import WithJitter
from ratelimit.styles.lendworks import Lendworks
from ratelimit.styles.lightspeed import Lightspeed

__all__ = ["Facturapi", "Ietf", "Lendworks", "Lightspeed", "WithIetfHeaders", "WithJitter"]
