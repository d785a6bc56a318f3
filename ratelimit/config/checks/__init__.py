"""What takes two places of a policy file to see: whole.py first, it calls the others."""
