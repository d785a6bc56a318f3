"""A policy file in TOML becomes a Policy, or one PolicyError with everything that is wrong with it."""

from ratelimit.config.grammar.messages import PolicyError
from ratelimit.config.load import load_policy, parse_policy
from ratelimit.config.schema import json_schema

__all__ = ["PolicyError", "json_schema", "load_policy", "parse_policy"]
