"""A dashboard, alert rules, and what Prometheus scrapes: the lendworks example with its metrics beside it."""
