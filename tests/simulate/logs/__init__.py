"""Lines of access logs, as servers really write them."""
