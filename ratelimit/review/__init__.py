"""What is odd in a policy, and what of an app is unlimited: as data."""
