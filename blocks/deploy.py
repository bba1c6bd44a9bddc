"""Deploys the flows with the settings' pools and windows: `python -m blocks.deploy`.

Calls `prefect deploy --all` with the variables that `prefect.yaml` reads, after checking that both work pools exist:
Prefect itself deploys to a missing pool with no more than a warning.
"""

import argparse
import os
import subprocess
import sys

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound

from contracts.errors import MillraceError, SettingsError
from settings import Settings, load_settings
from settings.tree import ROOT


def variables(settings: Settings) -> dict[str, str]:
    """What `prefect.yaml` reads from the environment."""
    return {
        "MILLRACE_WORK_POOL": settings.pools.default,
        "MILLRACE_DBT_WORK_POOL": settings.pools.dbt,
        "MILLRACE_PROJECT_DIR": os.environ.get("MILLRACE_PROJECT_DIR", str(ROOT)),
        "MILLRACE_LANDED_WINDOW_S": str(settings.triggers.landed_window_s),
        "MILLRACE_MERGED_WINDOW_S": str(settings.triggers.merged_window_s),
    }


def check_pools(client: SyncPrefectClient, settings: Settings) -> None:
    """Refuse to deploy to a work pool that does not exist.

    Raises:
        SettingsError: names the pool and says how to make it.
    """
    for key, pool in (("default", settings.pools.default), ("dbt", settings.pools.dbt)):
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            raise SettingsError(
                f"pools.{key} is {pool!r}, but Prefect has no such work pool; make it with"
                f" `prefect work-pool create {pool} --type process|kubernetes|cloud-run-v2`"
            ) from None


def main() -> int:
    """Deploy everything."""
    argparse.ArgumentParser(prog="python -m blocks.deploy", description=__doc__).parse_args()
    try:
        settings = load_settings()
        with get_client(sync_client=True) as client:
            check_pools(client, settings)
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables(settings), check=False).returncode  # noqa: S603  a command of our own


if __name__ == "__main__":
    sys.exit(main())
