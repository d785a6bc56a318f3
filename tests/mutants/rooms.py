"""Which tests are to see a fault in which files: those of its room, and of what is promised of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Room:
    """Files below ratelimit/, as patterns; tests below tests/, of which `only` are taken (pytest's -k)."""

    files: tuple[str, ...]
    tests: tuple[str, ...]
    only: str = ""

    def sources(self, package: Path) -> Iterator[Path]:
        for pattern in self.files:
            found = sorted(path for path in package.glob(pattern) if path.stem != "__init__")
            if not found:
                raise SystemExit(f"there is no file {pattern} in ratelimit/: say in tests/mutants/rooms.py where it is")
            yield from found


IN_PYTHON = "not (fakeredis or valkey or redis or cluster or sentinel)"
ON_VALKEY_TOO = "not (fakeredis or redis or cluster or sentinel)"  # what a charge comes to is told to the scripts
STORES = ("stores/test_contract.py", "stores/test_units.py", "stores/test_edges.py", "stores/test_kept.py")

ROOMS = {
    "forwarded": Room(
        ("identity/forwarded.py", "identity/networks.py", "identity/address.py", "identity/advice.py"),
        ("identity/test_address.py", "fuzz/test_forwarded.py", "acceptance/test_trusted_hops.py",
         "acceptance/test_proxies_told_of.py", "acceptance/test_hostile.py", "config/test_good.py"),
        "not flood and not test_time",
    ),
    "api keys": Room(
        ("identity/api_keys.py", "identity/credentials.py", "identity/quick_hash.py", "identity/users.py"),
        ("identity/test_identity.py", "identity/test_quick_hash.py", "fuzz/test_credentials.py",
         "acceptance/test_credentials_of_two_callers.py", "acceptance/test_names_of_credential_headers.py",
         "acceptance/test_order_of_authentication.py", "config/test_good.py"),
    ),
    "who": Room(
        ("who.py",),
        ("acceptance/test_what_identify_leaves_open.py", "acceptance/test_path_of_a_request.py",
         "acceptance/test_word_of_the_app.py"),
    ),
    "control": Room(("control/*.py", "answers/inside.py"), ("control",), IN_PYTHON),
    "waiting": Room(
        ("waiting/*.py", "policy/settings.py"),
        ("waiting/test_turns.py", "waiting/test_line.py", "waiting/test_hang_ups.py", "waiting/test_cancelled.py"),
    ),
    "switch": Room(("switch.py",), ("acceptance/test_mode_of_the_environment.py",)),
    "policy": Room(
        ("policy/*.py",),
        ("policy", "acceptance/test_overrides_by_index.py", "acceptance/test_unknown_operations.py",
         "acceptance/test_a_tier_that_is_not_there.py", "acceptance/test_what_shares.py",
         "acceptance/test_identity_values.py", "acceptance/test_made_by_hand.py"),
    ),
    "operations": Room(
        ("operations/*.py",),
        ("operations", "acceptance/test_readings.py", "acceptance/test_routes_known.py", "acceptance/test_mounted.py",
         "fuzz/test_requests.py", "config/test_good.py"),
    ),
    "routes": Room(
        ("routes/*.py", "endpoints/*.py", "fastapi/limits.py", "config/declared.py"),
        ("routes", "operations", "acceptance/test_operations_at_the_endpoint.py",
         "acceptance/test_units_of_a_request.py", "acceptance/test_limits_in_code.py",
         "acceptance/test_list_by_route.py", "acceptance/test_routes_known.py"),
    ),
    "formula": Room(("formula/*.py",), ("formula", "fuzz/test_formula.py", "config/test_hostile_constants.py")),
    "styles": Room(("styles/*.py",), ("styles", "config/test_good.py")),
    "headers": Room(
        ("answers/headers.py",),
        ("acceptance/test_path_of_a_request.py", "acceptance/test_the_tighter_policy_is_told.py",
         "acceptance/test_families_of_headers.py", "acceptance/test_two_policies_on_one_request.py",
         "acceptance/test_malformed.py", "acceptance/test_hostile_on_the_wire.py"),
    ),
    "websockets": Room(
        ("websockets/*.py", "config/checks/websocket.py"),
        ("websockets", "config/test_bad.py", "config/test_odd.py", "config/test_good.py"),
        "not test_servers",
    ),
    "counting": Room(
        ("stores/counting/*.py",),
        (*STORES, "stores/counting", "stores/test_memory.py", "stores/test_strict.py", "stores/test_units_agree.py",
         "acceptance/test_limits_to_come.py", "policy/test_policy.py"),
        ON_VALKEY_TOO,
    ),
    "memory": Room(
        ("stores/memory.py", "stores/records/*.py", "ground/memo.py"),
        (*STORES, "stores/test_memory.py", "stores/records", "stores/test_kept.py", "stores/test_strict.py",
         "stores/test_units_agree.py", "ground/test_memo.py"),
        IN_PYTHON,
    ),
    "lua": Room(
        ("stores/lua/**/*.lua",),
        (*STORES, "stores/fallback/test_settle.py", "stores/batching/test_reserve.py", "stores/batching/test_queue.py",
         "stores/batching/test_refunds.py", "acceptance/test_limits_to_come.py", "stores/test_redis.py",
         "stores/test_differential.py", "stores/test_units_agree.py", "stores/test_units_on_servers.py"),
        "valkey or not (memory or fakeredis or redis)",
    ),
    "batching": Room(
        ("stores/batching/callers.py", "stores/batching/allotments.py"),
        ("stores/batching", "stores/counting/test_allowed.py", "stores/test_contract.py",
         "stores/routing/test_units.py"),
        "not (memory or fakeredis or redis) and not test_reserve_strict",
    ),
    "journal": Room(
        ("stores/fallback/journal.py",),
        ("stores/fallback/test_journal.py", "stores/fallback/test_reconcile.py"),
        "not redis",
    ),
}  # fmt: skip
