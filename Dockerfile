# Two images of one build: `flows` (Prefect's server, workers, flow runs, dbt, the gateway) and `beam` (Dataflow's
# workers). `flows` runs as uid 10001 and writes nothing but /tmp. `tests/integration/test_image.py` checks this file and
# what the images hold; `make deploy-check` builds and runs them where buildah is installed.
#
#   docker build --target flows -t REGION-docker.pkg.dev/PROJECT/millrace/flows:0.1.0 .
#   docker build --target beam  -t REGION-docker.pkg.dev/PROJECT/millrace/beam:0.1.0 .
#
# Where packages come from another index than PyPI, `--secret id=index,src=FILE` gives a shell file that exports uv's
# variables (UV_DEFAULT_INDEX, …), and `--secret id=certificates,src=FILE` the certificates it is trusted by.

ARG UV_IMAGE=ghcr.io/astral-sh/uv:0.13.9
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
ARG BEAM_IMAGE=apache/beam_python3.11_sdk:2.77.0

FROM ${UV_IMAGE} AS uv

FROM ${PYTHON_IMAGE} AS packages
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /build
RUN uv venv /opt/venv
COPY requirements.txt .
# Every file is checked against its hash; what the demo reads of its own is no part of the platform.
RUN --mount=type=secret,id=index --mount=type=secret,id=certificates \
    if [ -e /run/secrets/index ]; then . /run/secrets/index; fi \
    && uv pip sync --python /opt/venv/bin/python --require-hashes requirements.txt

FROM packages AS platform
COPY . .
WORKDIR /
# `--no-build-isolation` takes setuptools from the locked packages, so that this step needs no index. What it adds to the
# environment goes to /added: the packages, 1.8 GB, are a layer of their own that is the same until they change.
RUN sh build/scripts/image_files /opt/millrace \
    && uv pip install --python /opt/venv/bin/python --no-deps --no-build-isolation --editable /opt/millrace \
    && /opt/venv/bin/python -m compileall -q /opt/millrace \
    && mkdir /added \
    && cp -a --parents opt/millrace opt/venv/bin/millrace opt/venv/lib/python3.11/site-packages/*millrace* /added

FROM ${PYTHON_IMAGE} AS base
RUN groupadd --gid 10001 millrace \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin millrace
COPY --from=packages /opt/venv /opt/venv
COPY --from=platform /added/ /
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

FROM ${BEAM_IMAGE} AS sdk

# Dataflow starts this image on virtual machines of its own. Beam's boot program would make a virtual environment in
# /opt/apache/beam-venv on top of the system's Python and find no packages in it, unless the variable is set
# (https://cloud.google.com/dataflow/docs/guides/build-container-image), and it ends when `pip show apache-beam` fails,
# which needs pip in our environment. Dataflow mounts /var/opt/google as root and writes there from the container, so a
# worker is root in it, as in Beam's own image.
FROM base AS beam
# hadolint ignore=DL3002
USER 0:0
RUN python -m ensurepip
COPY --from=sdk /opt/apache/beam /opt/apache/beam
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
ENTRYPOINT ["/opt/apache/beam/boot"]
