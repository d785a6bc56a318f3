"""What a policy file may say: tables.py first, then the values in its fields."""
