"""`ratelimit schema`: the JSON Schema of a policy file."""

from __future__ import annotations

import sys

EXAMPLES = """
  ratelimit schema > ratelimit.schema.json
"""


def schema() -> None:
    """Print the JSON Schema of a policy file, for editors that complete and check TOML.

    An editor that knows TOML (Taplo, Even Better TOML) looks for it where the first line of the file says:
    #:schema ./ratelimit.schema.json
    """
    import json

    from ratelimit.config import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
