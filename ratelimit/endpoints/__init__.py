"""What the endpoints of an app come to under a policy. Read listing.py first."""
