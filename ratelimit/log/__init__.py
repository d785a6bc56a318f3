"""What is said to the operator: lines.py once, denials.py and outage.py counted once a second."""
