"""The API keys of this example. They are public and open nothing else; `ratelimit.toml` has only their SHA-256."""

NORTHBANK = "lw_northbank_demo"  # the organization northbank, on the basic tier
NORTHBANK_REPORTS = "lw_northbank_reports_demo"  # its second key, with a minute of its own
MERIDIAN = "lw_meridian_demo"  # standard
ATLAS = "lw_atlas_demo"  # premium
SAMPLER = "lw_sampler_demo"  # basic, with a monthly quota of 5
