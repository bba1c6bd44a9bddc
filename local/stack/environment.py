"""Environment variables of a local stack: the platform's settings, Prefect's settings and the emulators' addresses."""

import os
import sys
from pathlib import Path

from local.demo import source
from local.stack.local_stack import BUCKET, POOL, PROJECT, PUSH_ACCOUNT, LocalStack
from millrace.gateway.serve import STACK
from millrace.project import CODE, VARIABLE, current_project
from millrace.project_snapshot import deployed_project


def process_environment(stack: LocalStack) -> dict[str, str]:
    """Return the environment of the stack's processes: the caller's, with the stack's settings instead of its own."""
    base = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MILLRACE_", "GOOGLE_", "DBT_"))}
    no_proxy = ",".join(filter(None, [base.get("NO_PROXY", ""), "127.0.0.1,localhost"]))
    base.pop("PYTHONDONTWRITEBYTECODE", None)
    return (
        base
        | platform_settings(stack)
        | prefect_settings(stack)
        | source.environment(stack.state)
        | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), base.get("PATH", "")]),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(CODE), base.get("PYTHONPATH", "")])),
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
            "PUBSUB_EMULATOR_HOST": stack.grpc("pubsub"),
            "STORAGE_EMULATOR_HOST": stack.http("storage"),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "MILLRACE_STATE": str(stack.state),
            STACK: stack.identity,
            VARIABLE: str(project_folder(stack)),
        }
    )


def project_folder(stack: LocalStack) -> Path:
    """Return the copy of the project that was deployed, and before a deployment the project itself."""
    deployed = deployed_project(stack.state)
    return deployed if deployed.exists() else current_project().folder


def platform_settings(stack: LocalStack) -> dict[str, str]:
    """Return the platform's settings that depend on the stack's state directory and ports."""
    return {
        "MILLRACE_CONFIG": "local",
        "MILLRACE_LAKE__URL": f"gs://{BUCKET}",
        "MILLRACE_LAKE__ENDPOINT": stack.http("storage"),
        "MILLRACE_WAREHOUSE__URL": f"duckdb:///{stack.warehouse}",
        "MILLRACE_WAREHOUSE__MARTS_URL": f"duckdb:///{stack.marts}",
        "MILLRACE_EVENTS__PROJECT": PROJECT,
        "MILLRACE_EVENTS__ENDPOINT": stack.grpc("pubsub"),
        "MILLRACE_SECRETS__ENDPOINT": stack.grpc("secrets"),
        "MILLRACE_AIRBYTE__URL": f"{stack.http('airbyte')}/api/public/v1",
        "MILLRACE_GATEWAY__AUDIENCE": f"{stack.http('gateway')}/push",
        "MILLRACE_GATEWAY__PUSH_ACCOUNT": PUSH_ACCOUNT,
        "MILLRACE_GATEWAY__CERTS_URL": f"{stack.http('identity')}/certs",
        "MILLRACE_POOLS__DEFAULT": POOL,
        "MILLRACE_POOLS__DBT": POOL,
    }


def prefect_settings(stack: LocalStack) -> dict[str, str]:
    """Return Prefect's settings: short polling intervals, and the platform's loggers in the UI."""
    return {
        "PREFECT_HOME": str(stack.state / "prefect"),
        "PREFECT_API_URL": stack.prefect_api,
        "PREFECT_UI_URL": stack.http("prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",  # else it imports all collections, to hash them
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "true",
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
        "PREFECT_RUNNER_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "beam_job,millrace.warehouse,tasks",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "MILLRACE_PROJECT_DIR": str(CODE),
    } | _log_settings()


def _log_settings() -> dict[str, str]:
    """Return settings for JSON lines, as in the images, where `MILLRACE_LOGS` is json; else lines are plain text."""
    if os.environ.get("MILLRACE_LOGS") != "json":
        return {}
    return {
        "MILLRACE_LOGS": "json",
        "PREFECT_LOGGING_SETTINGS_PATH": str(CODE / "millrace" / "observability" / "logging.yaml"),
    }
