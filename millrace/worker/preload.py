"""Imports what every run needs, ahead of the runs, and detects that the imported code has changed on the disk."""

import gc
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable

from millrace.project import CODE
from millrace.without_vertex import without_vertex

# Threads do not survive a fork, so that none may run yet: not OpenBLAS's, nor the allocator's.
QUIET = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "GX_ANALYTICS_ENABLED": "false",
}
LIBRARIES = (
    "prefect.main",
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.cli",
    "prefect.artifacts",
    "prefect.deployments",
    "prefect.concurrency.sync",
    "prefect.automations",
    "prefect_slack",
    "prefect_gcp.credentials",
    "prefect_gcp.secret_manager",
    "prefect_kubernetes",
    "prefect_shell",
    "google.cloud.storage",
    "google.pubsub_v1",
    "pandas",
    "pyarrow.parquet",
    "pyarrow.compute",
    "fastavro",
    "duckdb",
    "apache_beam",
    "apache_beam.runners.portability.fn_api_runner.fn_runner",
    "prefect_dbt",
    "dbt.cli.main",
    "dbt.adapters.duckdb",
    "great_expectations",
    "great_expectations.expectations",
    "great_expectations.datasource.fluent.sql_datasource",
    "duckdb_engine",
)
# They start threads when they are imported: a module that needs them is imported by each run.
THREADED = ("polars",)
FLOWS = CODE / "flows"


def import_libraries() -> None:
    """Import the libraries, which stay the same until the server is started again."""
    os.environ |= QUIET
    with without_vertex():
        _import(LIBRARIES)


def import_flows() -> None:
    """Import the platform's flows, and with them its tasks, as far as they need no library that starts threads."""
    sys.modules.update(dict.fromkeys(THREADED))  # type: ignore[arg-type]  # None: an import raises ModuleNotFoundError
    _import(f"flows.{module.name}" for module in pkgutil.iter_modules([str(FLOWS)]))
    for library in THREADED:
        del sys.modules[library]


def _import(modules: Iterable[str]) -> None:
    """Import modules; report those that can't be imported, which a run may not need."""
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            if isinstance(error, ImportError) and error.name in THREADED:
                continue
            sys.stderr.write(f"millrace.worker: {module} is not imported ahead: {error}\n")
    gc.collect()
    gc.freeze()  # a collection in a fork would write to, and so copy, the memory of all that is imported


def code_stamp() -> dict[str, tuple[int, int]]:
    """Return the time and size of each imported file of the platform; `code_changed` compares it with the disk."""
    files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    own = f"{CODE}{os.sep}"
    return {file: _version(file) for file in files if file.startswith(own) and "site-packages" not in file}


def code_changed(stamp: dict[str, tuple[int, int]]) -> bool:
    """Return True when a file differs from its stamp, or is missing."""
    return any(_version(file) != version for file, version in stamp.items())


def _version(file: str) -> tuple[int, int]:
    try:
        status = os.stat(file)
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def threads() -> int:
    """Return how many threads this process has, where the system shows it."""
    return len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 1
