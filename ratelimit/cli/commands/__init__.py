"""The commands, thin: what was typed, a call to a room, what came of it."""
