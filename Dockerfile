# One image for all three processes; the command chooses:
#   docker run rendezvous                      # web
#   docker run rendezvous python -m replies
#   docker run rendezvous python -m responder
# It writes no file: run it with --read-only.
FROM python:3.11-slim AS build
RUN python -m venv /opt/venv
COPY requirements.txt requirements-jwt.txt /build/
# Wheels only, as there is no compiler.
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary=:all: \
    -r /build/requirements.txt -r /build/requirements-jwt.txt
COPY LICENSE kafka_security.py settings.py setting_conflicts.py setting_parsers.py wsgi.py gunicorn.conf.py routes.toml /app/
COPY rendezvous /app/rendezvous
COPY gateway /app/gateway
COPY replies /app/replies
COPY responder /app/responder
COPY deploy/healthcheck.py /app/deploy/healthcheck.py
# Here, as nothing can be written later.
RUN /opt/venv/bin/python -m compileall -q /app

FROM python:3.11-slim
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
# One malloc arena for all threads: large bodies leave no gaps behind.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=1
USER 65532:65532
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "deploy/healthcheck.py"]
CMD ["gunicorn", "wsgi:app"]
