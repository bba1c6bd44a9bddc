# Two images of one build: `flows` (Prefect's server, workers, flow runs, dbt, the gateway) and `beam` (Dataflow's
# workers). Both run as uid 10001 and write nothing but /tmp; `tests/integration/test_image.py` holds what they contain.
#
#   docker build --target flows -t REGION-docker.pkg.dev/PROJECT/millrace/flows:0.1.0 .
#   docker build --target beam  -t REGION-docker.pkg.dev/PROJECT/millrace/beam:0.1.0 .

FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

FROM python:3.11.14-slim-bookworm AS builder
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /build
RUN uv venv /opt/venv
COPY requirements.txt .
# Every file is checked against its hash; what the demo reads of its own is no part of the platform.
RUN uv pip sync --python /opt/venv/bin/python --require-hashes requirements.txt
COPY . .
RUN sh scripts/image_files /opt/millrace \
    && uv pip install --python /opt/venv/bin/python --no-deps --no-build-isolation --editable /opt/millrace \
    && /opt/venv/bin/python -m compileall -q /opt/millrace

FROM python:3.11.14-slim-bookworm AS base
RUN groupadd --gid 10001 millrace \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin millrace
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /opt/millrace /opt/millrace
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MILLRACE_CONFIG=gcp \
    MILLRACE_LOGS=json \
    MILLRACE_PROJECT_DIR=/opt/millrace \
    PREFECT_HOME=/tmp/prefect \
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 \
    PREFECT_LOGGING_SETTINGS_PATH=/opt/millrace/millrace/observability/logging.yaml \
    DBT_TARGET_PATH=/tmp/dbt/target \
    DBT_LOG_PATH=/tmp/dbt/logs
WORKDIR /opt/millrace
USER 10001:10001

# Workers give the command, so there is no entrypoint to come before it.
FROM base AS flows
ENTRYPOINT []
CMD ["prefect", "version"]

FROM apache/beam_python3.11_sdk:2.77.0 AS sdk

FROM base AS beam
COPY --from=sdk /opt/apache/beam /opt/apache/beam
ENTRYPOINT ["/opt/apache/beam/boot"]
