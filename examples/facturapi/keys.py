"""The API keys of this example. They are public and open nothing else; `ratelimit.toml` has only their SHA-256."""

LUNA_TEST = "sk_test_luna_demo"  # the organization luna in test mode
LUNA_LIVE = "sk_live_luna_demo"  # and live
LUNA_LIVE_TILL = "sk_live_luna_till_demo"  # a second live key of luna: it shares the limits of the first
MAYOREO_LIVE = "sk_live_mayoreo_demo"  # a customer with raised limits
ANA = "sk_user_ana_demo"  # a user without organization
