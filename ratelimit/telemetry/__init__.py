"""What a limiter counts of itself, for those who watch: hook.py says what is told, prometheus.py and opentelemetry.py
hand it on. Nothing here is imported unless an app asks for it."""
