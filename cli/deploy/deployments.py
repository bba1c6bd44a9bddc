"""Deploys the flows with the settings' pools.

First checks that pools, blocks and variables exist and agree; then calls `prefect deploy --all`, and removes
deployments of an earlier call that are declared no more. Idempotent.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version as installed_version

from prefect.client.orchestration import get_client

from cli.deploy.checks import check_blocks, check_job_variables, check_pools, difference, load_deployments
from cli.deploy.declared_deployments import declared_file, declared_text
from cli.deploy.dropped_deployments import dropped, remove
from cli.deploy.pools import pools_with_an_image
from millrace.domain.errors import SettingsError
from millrace.project import CODE, Project, current_project
from millrace.project_snapshot import version
from millrace.settings import Settings, load_settings

IMAGE_FOLDER = "/opt/millrace"


def variables(settings: Settings) -> dict[str, str]:
    """Return the variables that `prefect.yaml` reads from the environment.

    Raises:
        SettingsError: one pool has an image and the other runs on a machine.
    """
    return {
        "MILLRACE_WORK_POOL": settings.pools.default,
        "MILLRACE_DBT_WORK_POOL": settings.pools.dbt,
        "MILLRACE_PROJECT_DIR": project_folder(settings),
        "MILLRACE_SHOWN_WINDOW_S": str(settings.triggers.shown_window_s),
        "MILLRACE_VERSION": os.environ.get("MILLRACE_VERSION") or deployed_version(current_project()),
    }


def project_folder(settings: Settings) -> str:
    """Return where the runs find the code: the image's folder, or on a process pool this checkout's.

    Raises:
        SettingsError: one pool has an image and the other runs on a machine.
    """
    pools = {settings.pools.default, settings.pools.dbt}
    if with_image := pools & pools_with_an_image():
        if without := pools - with_image:
            raise SettingsError(
                f"the runs of pool {min(with_image)!r} find the code in an image at {IMAGE_FOLDER}, those of"
                f" {min(without)!r} on a machine; set pools.default and pools.dbt to pools of one kind"
            )
        return IMAGE_FOLDER
    return os.environ.get("MILLRACE_PROJECT_DIR", str(CODE))


def deployed_version(project: Project) -> str:
    """Return the version of the project, and of the platform where that is not in the same commit."""
    own = version(project)
    return f"{own} on millrace {installed_version('millrace')}" if project.marker.exists() else own


def deploy_flows(*, dry_run: bool, whole: bool = False) -> Iterator[str]:
    """Check, and deploy all flows; remove those that are declared no more; yield the change of each.

    Args:
        dry_run: change nothing.
        whole: pools and blocks are deployed by the same command, so that a dry run may find them as they were.

    Raises:
        SettingsError: something that a deployment needs is missing, or Prefect's own command failed.
    """
    settings = load_settings()
    values = variables(settings)
    deployments = load_deployments(declared_text(current_project()), values)
    with get_client(sync_client=True) as client:
        if not (dry_run and whole):
            check_pools(client, settings)
            check_blocks(client)
        check_job_variables(client, deployments)
        for deployment in deployments:
            change = difference(client, deployment)
            yield f"{'would be ' if dry_run and change != 'unchanged' else ''}{change}: {deployment['name']}"
        if not dry_run:
            _run_prefect_deploy(values)
        for leftover in dropped(client, deployments):
            if not dry_run:
                remove(client, leftover)
            yield f"{'would be ' if dry_run else ''}deleted: {leftover.name}, which prefect.yaml has no more"


def _run_prefect_deploy(values: dict[str, str]) -> None:
    """Call Prefect's command, whose pages of output are shown only when it fails."""
    with declared_file() as file:
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
        process = subprocess.run(  # noqa: S603  our own
            command, cwd=CODE, env=os.environ | values, capture_output=True, text=True, check=False
        )
    if process.returncode:
        output = f"{process.stdout}\n{process.stderr}".strip()
        raise SettingsError(f"`prefect deploy --all` failed with exit code {process.returncode}:\n{output}")
