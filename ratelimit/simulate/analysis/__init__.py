"""What a simulation says of a policy: whom each threshold of each limit would deny, who is denied, and how they ask."""
