# The lendworks example on uvicorn with its metrics, as docker-compose.yml runs it.
FROM python:3.13-slim
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY ratelimit ratelimit
# pip before 25.1 can't read dependency groups.
RUN pip install --no-cache-dir --upgrade "pip>=25.1" && pip install --no-cache-dir ".[redis,prometheus]" --group demo
WORKDIR /app
COPY examples examples
USER nobody
EXPOSE 8000
CMD ["uvicorn", "examples.observability.app:app", "--host", "0.0.0.0", "--port", "8000", "--no-proxy-headers"]
