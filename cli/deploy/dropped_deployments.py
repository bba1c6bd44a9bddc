"""A Prefect server and the declared deployments in; those that an earlier deployment made and no file declares, out."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter

from cli.deploy.checks import Json, full_name

PAGE = 100
MADE = "millrace-deploy"
"""The tag of every deployment that `millrace deploy` makes; one without it is somebody else's, and stays."""


@dataclass(frozen=True)
class Dropped:
    """A deployment of the server that is declared no more; `name` is `<flow>/<deployment>`."""

    deployment_id: UUID
    name: str


def dropped(client: SyncPrefectClient, declared: Collection[Json]) -> list[Dropped]:
    """Return the deployments with our tag that are not declared, by name."""
    names = {full_name(deployment) for deployment in declared}
    made = (Dropped(id_, name) for id_, name in _made(client) if name not in names)
    return sorted(made, key=lambda deployment: deployment.name)


def remove(client: SyncPrefectClient, deployment: Dropped) -> None:
    """Delete a deployment, its triggers and the runs that it has scheduled; active runs and the history stay."""
    client.delete_resource_owned_automations(f"prefect.deployment.{deployment.deployment_id}")
    client.delete_deployment(deployment.deployment_id)


def _made(client: SyncPrefectClient) -> Iterator[tuple[UUID, str]]:
    """Yield id and full name of the deployments with our tag."""
    ours = DeploymentFilter.model_validate({"tags": {"all_": [MADE]}})
    flows: dict[UUID, str] = {}
    offset = 0
    while page := client.read_deployments(deployment_filter=ours, limit=PAGE, offset=offset):
        for deployment in page:
            if deployment.flow_id not in flows:
                flows[deployment.flow_id] = client.read_flow(deployment.flow_id).name
            yield deployment.id, f"{flows[deployment.flow_id]}/{deployment.name}"
        offset += len(page)
