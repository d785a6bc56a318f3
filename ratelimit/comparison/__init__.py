"""What changes, and for whom, where one policy takes the place of another: as data. Read whole.py first."""
