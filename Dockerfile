# Two images: `app`, the service alone, and `poolbench`, the harness with its load generator and plain Locust.
# The same each time: dependencies are pinned by hash; to pin the base as well, give it by digest
# (--build-arg BASE_IMAGE=python@sha256:...). Any base with python3 >= 3.11 and its venv module will do.
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS app-environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /venv
COPY target_app/requirements.lock /tmp/app.lock
RUN /venv/bin/pip install --quiet --require-hashes -r /tmp/app.lock

FROM ${BASE_IMAGE} AS base
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp

FROM base AS app
WORKDIR /srv
COPY --from=app-environment /venv /venv
COPY alembic.ini ./
COPY target_app target_app
ENV WORKERS=1
# A number, so that an orchestrator can see that it is not root. It owns nothing of what it runs.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
# The shell hands over to uvicorn, which then receives the stop signal itself.
CMD ["sh", "-c", "exec uvicorn --factory target_app.main:create_app --host 0.0.0.0 --port 8000 --workers \"$WORKERS\" --timeout-keep-alive 75"]

FROM app-environment AS poolbench-environment
COPY requirements.lock /tmp/all.lock
RUN /venv/bin/pip install --quiet --require-hashes -r /tmp/all.lock
COPY . /src
RUN /venv/bin/pip install --quiet --no-deps --no-build-isolation /src

FROM base AS poolbench
WORKDIR /srv
COPY --from=poolbench-environment /venv /venv
COPY experiments experiments
COPY scenarios scenarios
RUN install -d -o 10001 -g 10001 results
USER 10001:10001
ENTRYPOINT ["poolbench"]
CMD ["--help"]
