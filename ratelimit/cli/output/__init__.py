"""How a command answers: an exit code, a format, and texts that do nothing to a terminal."""
