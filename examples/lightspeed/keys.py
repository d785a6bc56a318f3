"""The access tokens of this example. They are public and open nothing else; `ratelimit.toml` has only their SHA-256."""

CORNER_WEBSHOP = "lsxs_at_corner_webshop_demo"  # the retailer corner has 1 register; webshop and books are applications
CORNER_BOOKS = "lsxs_at_corner_books_demo"
CORNER_ANA = "lsxs_at_corner_ana_demo"  # ana and ben are users at its till
CORNER_BEN = "lsxs_at_corner_ben_demo"
GALLERIA_WEBSHOP = "lsxs_at_galleria_webshop_demo"  # the retailer galleria has 3 registers

# What an application sends to POST /api/1.0/token, and the access token that it gets for it.
AUTHORIZATION_CODES = {"code-of-corner": CORNER_WEBSHOP, "code-of-galleria": GALLERIA_WEBSHOP}
