"""Deploys the flows with the settings' pools and windows.

First checks that pools, blocks and variables exist and agree; then calls `prefect deploy --all`. Idempotent.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from prefect.client.orchestration import get_client

from cli.deploy.checks import check_blocks, check_job_variables, check_pools, difference, load_deployments
from millrace.domain.errors import SettingsError
from millrace.settings import Settings, load_settings
from millrace.settings.tree import ROOT

FILE = ROOT / "prefect.yaml"


def variables(settings: Settings) -> dict[str, str]:
    """Return the variables that `prefect.yaml` reads from the environment."""
    return {
        "MILLRACE_WORK_POOL": settings.pools.default,
        "MILLRACE_DBT_WORK_POOL": settings.pools.dbt,
        "MILLRACE_PROJECT_DIR": os.environ.get("MILLRACE_PROJECT_DIR", str(ROOT)),
        "MILLRACE_LANDED_WINDOW_S": str(settings.triggers.landed_window_s),
        "MILLRACE_MERGED_WINDOW_S": str(settings.triggers.merged_window_s),
        "MILLRACE_VERSION": os.environ.get("MILLRACE_VERSION") or code_version(),
    }


def code_version() -> str:
    """Return the deployed commit, `-dirty` when files differ from it; without git the version of the package."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603  our own
        return process.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        try:
            return installed_version("millrace")
        except PackageNotFoundError:
            return "unknown"


def deploy_flows(*, dry_run: bool) -> Iterator[str]:
    """Check, and deploy all flows; yield the change of each.

    Raises:
        SettingsError: something that a deployment needs is missing, or Prefect's own command failed.
    """
    settings = load_settings()
    values = variables(settings)
    deployments = load_deployments(FILE, values)
    with get_client(sync_client=True) as client:
        check_pools(client, settings)
        check_blocks(client)
        check_job_variables(client, deployments)
        for deployment in deployments:
            change = difference(client, deployment)
            yield f"{'would be ' if dry_run and change != 'unchanged' else ''}{change}: {deployment['name']}"
    if not dry_run:
        _run_prefect_deploy(values)


def _run_prefect_deploy(values: dict[str, str]) -> None:
    sys.stdout.flush()
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    process = subprocess.run(command, cwd=ROOT, env=os.environ | values, check=False)  # noqa: S603  our own
    if process.returncode:
        raise SettingsError(f"`prefect deploy --all` failed with exit code {process.returncode}; see its output above")
