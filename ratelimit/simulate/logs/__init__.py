"""Access logs as events. Read presets.py first: what formats there are; then formats.py and json_lines.py, how they are
read, and sources.py, where from."""
