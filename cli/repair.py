"""The steps that set the platform up, each of which can be run again by itself."""

from collections.abc import Callable

from cli import show
from cli.environment import Environment
from millrace.domain.errors import SettingsError

Step = Callable[[Environment], None]


def resources(environment: Environment) -> None:
    """Create bucket, topics, subscriptions and secrets; raises SettingsError where Terraform owns them."""
    if environment.state is None:
        raise SettingsError(
            "Terraform owns bucket, topics and secrets in this environment; run `terraform -chdir=terraform apply`"
        )
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


STEPS: dict[str, Step] = {
    "resources": resources,
    "pools": pools,
    "blocks": blocks,
    "connections": connections,
    "deployments": deployments,
    "automations": automations,
}


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
