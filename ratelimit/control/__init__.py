"""What a request costs, where the app learns that late: by hand, by holding units, by the status that it answers."""
