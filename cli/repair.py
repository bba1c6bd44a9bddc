"""The steps that set the platform up, each of which can be run again by itself."""

import shutil
import subprocess
from collections.abc import Callable

from cli import show
from cli.environment import Environment
from millrace.domain.errors import SettingsError
from millrace.project import CHECKOUT, PLATFORM

PYTHONS = ("python3.12", "python3.13", "python3.11")
Step = Callable[[Environment], None]


def resources(environment: Environment) -> None:
    """Create bucket, topics, subscriptions and secrets; elsewhere Terraform does, and asks before it changes any."""
    if environment.state is None:
        _run_program("resources", "terraform", f"-chdir={PLATFORM / 'terraform'}", "apply")
        return
    _run_module(environment, "resources", "local.stack.provision")


def pools(environment: Environment) -> None:
    """Create or update the work pools, and resume those that are paused."""
    if environment.state is None:
        from cli.deploy.pools import deploy_pools

        show.lines(deploy_pools(dry_run=False))
    else:
        _run_module(environment, "pools", "local.stack.pool")
    resume_pools()


def blocks(environment: Environment) -> None:
    """Register blocks and concurrency limits."""
    from cli.deploy.blocks import deploy_blocks

    show.lines(deploy_blocks())


def connections(environment: Environment) -> None:
    """Apply the connections of `sources/` to Airbyte."""
    from tasks.upkeep.agreement import agree

    agreement = agree(dry_run=False)
    show.lines([*map(str, agreement.changes), agreement.summary])


def deployments(environment: Environment) -> None:
    """Deploy the flows."""
    from cli.deploy.deployments import deploy_flows

    show.lines(deploy_flows(dry_run=False))


def automations(environment: Environment) -> None:
    """Apply the automations."""
    from cli.deploy.declared_automations import deploy_automations

    show.lines(deploy_automations(dry_run=False))


def servers(environment: Environment) -> None:
    """Restart the servers and workers: of this machine's stack, elsewhere of the cluster."""
    if environment.state is None:
        _run_program("servers", "kubectl", "--namespace=millrace", "rollout", "restart", "deployment")
        return
    environment.read_local("down")
    environment.local("up")


def packages(environment: Environment) -> None:
    """Install the locked packages into the checkout's `.venv`, with a Python that is supported."""
    if CHECKOUT is None:
        raise SettingsError(
            "packages: this is an installed package; install it again, as in `uv tool upgrade millrace`"
        )
    (CHECKOUT / ".venv" / "ready").unlink(missing_ok=True)
    python = next((name for name in PYTHONS if shutil.which(name)), "python3")
    _run_program("packages", "make", f"--directory={CHECKOUT}", f"PYTHON={python}", "setup")


BY_THEMSELVES: dict[str, Step] = {"servers": servers, "packages": packages}
"""Steps that need no running platform, and that `all` leaves out."""
STEPS: dict[str, Step] = {
    "resources": resources,
    "pools": pools,
    "blocks": blocks,
    "connections": connections,
    "deployments": deployments,
    "automations": automations,
}


def _run_program(step: str, *command: str) -> None:
    """Run a program with its own input and output. Raises SettingsError when it is missing or fails."""
    if not shutil.which(command[0]):
        raise SettingsError(f"{step}: the program {command[0]} is not installed here; install it, or run it elsewhere")
    if code := subprocess.run(command, check=False).returncode:  # noqa: S603  our own arguments
        raise SettingsError(f"{step}: {' '.join(command)} failed with exit code {code}; see its output above")


def _run_module(environment: Environment, step: str, module: str) -> None:
    if code := environment.run(module):
        raise SettingsError(f"{step}: `python -m {module}` failed with exit code {code}; see its output above")


def resume_pools() -> None:
    """Resume paused work pools, so that their runs start again."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolUpdate

    from millrace.settings import load_settings

    settings = load_settings().pools
    with get_client(sync_client=True) as client:
        for name in dict.fromkeys((settings.default, settings.dbt)):
            if client.read_work_pool(name).is_paused:
                client.update_work_pool(name, WorkPoolUpdate(is_paused=False))
