"""Deploys the flows with the settings' pools and windows: `python -m cli.deploy.deployments [--dry-run]`.

First checks that pools, blocks and variables are there and agree; then calls `prefect deploy --all`. Idempotent.
"""

import argparse
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from prefect.client.orchestration import get_client

from cli.deploy.checks import check_blocks, check_job_variables, check_pools, difference, load_deployments
from millrace.domain.errors import MillraceError
from millrace.settings import Settings, load_settings
from millrace.settings.tree import ROOT

FILE = ROOT / "prefect.yaml"


def variables(settings: Settings) -> dict[str, str]:
    """What `prefect.yaml` reads from the environment."""
    return {
        "MILLRACE_WORK_POOL": settings.pools.default,
        "MILLRACE_DBT_WORK_POOL": settings.pools.dbt,
        "MILLRACE_PROJECT_DIR": os.environ.get("MILLRACE_PROJECT_DIR", str(ROOT)),
        "MILLRACE_LANDED_WINDOW_S": str(settings.triggers.landed_window_s),
        "MILLRACE_MERGED_WINDOW_S": str(settings.triggers.merged_window_s),
        "MILLRACE_VERSION": os.environ.get("MILLRACE_VERSION") or code_version(),
    }


def code_version() -> str:
    """The commit that is deployed, `-dirty` when files differ from it; the package's version where there is no git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603  our own
        return said.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        try:
            return installed_version("millrace")
        except PackageNotFoundError:
            return "unknown"


def deploy(settings: Settings, *, dry_run: bool) -> int:
    """Check, say what each deployment becomes, and deploy; returns the exit code.

    Raises:
        SettingsError: something that a deployment needs is not there.
    """
    given = variables(settings)
    deployments = load_deployments(FILE, given)
    with get_client(sync_client=True) as client:
        check_pools(client, settings)
        check_blocks(client)
        check_job_variables(client, deployments)
        for deployment in deployments:
            change = difference(client, deployment)
            print(f"{'would be ' if dry_run and change != 'unchanged' else ''}{change}: {deployment['name']}")
    if dry_run:
        return 0
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    return subprocess.run(command, cwd=ROOT, env=os.environ | given, check=False).returncode  # noqa: S603  our own


def main() -> int:
    """Deploy everything."""
    parser = argparse.ArgumentParser(prog="python -m cli.deploy.deployments", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    try:
        return deploy(load_settings(), dry_run=parser.parse_args().dry_run)
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
