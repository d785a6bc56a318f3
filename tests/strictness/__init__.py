"""Never more than max, by a log of every admitted request, over several processes and a real cluster."""
