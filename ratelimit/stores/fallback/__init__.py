"""Limits go on without the server; what was admitted is charged once. Read local.py first, then reconcile.py."""
