#!/bin/sh
# Stands for Beam's boot program (sdks/python/container/boot.go), which no package index has: the steps of it that depend
# on the image, in its order. It gets the arguments that Dataflow gives, of which it reads --semi_persist_dir.
set -eu
semi_persist_dir=/tmp
for argument in "$@"; do
    case "$argument" in --semi_persist_dir=*) semi_persist_dir=${argument#*=} ;; esac
done
if [ -z "${RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT:-}" ]; then
    mkdir -p /opt/apache/beam-venv/beam-venv-worker-1
    python -m venv --system-site-packages /opt/apache/beam-venv/beam-venv-worker-1
    PATH=/opt/apache/beam-venv/beam-venv-worker-1/bin:$PATH
fi
mkdir -p "$semi_persist_dir/staged"
if ! python -m pip show apache-beam >"$semi_persist_dir/staged/apache-beam.txt"; then
    echo "Apache Beam is not installed in the runtime environment." >&2
    exit 1
fi
exec python -c 'import apache_beam.runners.worker.sdk_worker_main as m, sys; print(sys.executable, m.__name__)'
