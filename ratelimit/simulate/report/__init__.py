"""The answer of a simulation: a verdict, a curve of each limit, who is hit; as data, and as one HTML file."""
