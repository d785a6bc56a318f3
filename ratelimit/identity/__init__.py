"""Who is asking. Read api_keys.py first (scope -> Identity), then address.py."""

from ratelimit.identity.api_keys import OF_NOTHING, SOURCES, IdentifyByApiKey, hash_api_key
from ratelimit.identity.users import identify_user

__all__ = ["OF_NOTHING", "SOURCES", "IdentifyByApiKey", "hash_api_key", "identify_user"]
