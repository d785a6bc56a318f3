"""What everything stands on and what knows nothing of limits: event loops, words, what is kept within a bound."""
