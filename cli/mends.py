"""The steps that set the platform up, each to be done again by itself."""

from cli.place import Where
from millrace.domain.errors import SettingsError

STEPS: dict[str, tuple[str, ...]] = {
    "resources": ("local.stack.provision",),
    "pools": ("cli.deploy.pools",),
    "blocks": ("cli.deploy.blocks",),
    "connections": ("blocks.airbyte", "apply"),
    "deployments": ("cli.deploy.deployments",),
    "automations": ("automations", "apply"),
}
ON_THIS_MACHINE = {"pools": ("local.stack.pool",)}


def mend_step(where: Where, step: str) -> None:
    """Do one step again.

    Raises:
        SettingsError: it did not go well (its own words are above), or it is Terraform's to do.
    """
    if where.state is None and step == "resources":
        raise SettingsError("bucket, topics and secrets are Terraform's there; run `terraform -chdir=terraform apply`")
    module = STEPS[step] if where.state is None else ON_THIS_MACHINE.get(step, STEPS[step])
    code = where.run(*module)
    if code:
        raise SettingsError(f"{step}: `python -m {' '.join(module)}` ended with {code}; see its words above")
    if step == "pools":
        resume_pools()


def resume_pools() -> None:
    """Let paused pools start runs again."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolUpdate

    from millrace.settings import load_settings

    pools = load_settings().pools
    with get_client(sync_client=True) as client:
        for name in dict.fromkeys((pools.default, pools.dbt)):
            if client.read_work_pool(name).is_paused:
                client.update_work_pool(name, WorkPoolUpdate(is_paused=False))
