"""The stages of a launch: what it is made of, and what holds from when on. Nothing here knows a clock."""
