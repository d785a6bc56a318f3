-- What a script sees inside the server. `make lint` reads each as the server does: whole, with what it includes in its place.
std = "lua51"
read_globals = {"redis", "KEYS", "ARGV"}
max_line_length = 130
