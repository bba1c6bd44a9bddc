"""Checks of the Prefect server: version, pools, blocks, limits, deployments with triggers, automations, connections."""

import os
from collections.abc import Iterator
from typing import Any

import prefect
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import WorkerStatus

from blocks import names as block_names
from cli.checks.finding import Finding, Target, bad, good, look
from cli.deploy.blocks import missing_limits
from cli.deploy.checks import (
    check_blocks,
    check_job_variables,
    check_pools,
    difference,
    full_name,
    load_deployments,
    outdated_blocks,
)
from cli.deploy.declared_automations import declared_automations
from cli.deploy.declared_deployments import declared_text
from cli.deploy.deployments import variables
from cli.deploy.dropped_deployments import dropped
from millrace.contracts.source import load_sources
from millrace.domain.errors import SettingsError
from millrace.domain.remedies import Remedy
from millrace.project import current_project

VERSION_ONLY = "updated (version)"


def server(target: Target) -> Iterator[Finding]:
    """Check that the server answers and has the client's version."""
    with get_client(sync_client=True) as client:
        version = client.api_version()
    if version.split("+")[0] != prefect.__version__.split("+")[0]:
        yield look("prefect", f"the server is Prefect {version}, the client {prefect.__version__}")
    else:
        yield good("prefect", f"Prefect {version} answers at {os.environ['PREFECT_API_URL']}")


def pools(target: Target) -> Iterator[Finding]:
    """Check that the work pools exist, are not paused and have a worker."""
    used = sorted({target.settings.pools.default, target.settings.pools.dbt})
    with get_client(sync_client=True) as client:
        try:
            check_pools(client, target.settings)
        except SettingsError as error:
            yield bad("pools", str(error), target.repair("pools"))
            return
        problems = [finding for name in used for finding in _pool(client, target, name)]
    yield from problems
    if not problems:
        yield good("pools", f"{', '.join(used)}: a worker is online")


def _pool(client: SyncPrefectClient, target: Target, name: str) -> Iterator[Finding]:
    pool = client.read_work_pool(name)
    if pool.is_paused:
        yield bad("pools", f"work pool {name} is paused: no run starts", target.repair("pools"))
    workers = client.read_workers_for_work_pool(name)
    if not pool.is_push_pool and not any(worker.status == WorkerStatus.ONLINE for worker in workers):
        yield bad("pools", f"work pool {name} has no worker: runs wait", target.repair("servers"))


def blocks(target: Target) -> Iterator[Finding]:
    """Check that blocks are registered with the values of the settings, and that every slot has its limit."""
    repair, sources = target.repair("blocks"), load_sources(current_project().sources)
    with get_client(sync_client=True) as client:
        try:
            check_blocks(client)
        except SettingsError as error:
            yield bad("blocks", str(error).partition(";")[0], repair)
            return
        outdated, missing = outdated_blocks(client, target.settings), missing_limits(client, sources.values())
    for problem in outdated:
        yield bad("blocks", problem, repair)
    if missing:
        yield bad("blocks", f"no concurrency limit {', '.join(missing)}: two runs may work on one table", repair)
    if not outdated and not missing:
        yield good("blocks", "all are registered as in the settings, and every slot has its limit")


def slack(target: Target) -> Iterator[Finding]:
    """Check that Prefect has the Slack URL of Secret Manager."""
    from prefect_slack import SlackWebhook

    from blocks.load import load_block
    from millrace.secrets import read_secret
    from tasks.upkeep.secret_states import credentials_of

    newest = read_secret(credentials_of(target.settings), target.settings.slack.url_secret)
    if load_block(SlackWebhook, block_names.SLACK).url.get_secret_value() == newest:
        yield good("blocks", "Prefect has the newest Slack URL")
    else:
        secret = target.settings.slack.url_secret
        message = f"the Slack URL in Prefect is not the newest version of {secret}: no alert is delivered"
        yield bad("blocks", message, target.remedy(Remedy.ROTATE))


def deployments(target: Target) -> Iterator[Finding]:
    """Check that every flow is deployed as in `prefect.yaml`, with its triggers enabled."""
    repair = target.repair("deployments")
    declared = load_deployments(declared_text(current_project()), variables(target.settings))
    problems: list[Finding] = []
    outdated: list[str] = []
    with get_client(sync_client=True) as client:
        check_job_variables(client, declared)
        for deployment in declared:
            name, change = deployment["name"], difference(client, deployment)
            if change == "created":
                problems.append(bad("deployments", f"{name} is not deployed", repair))
                continue
            if change == VERSION_ONLY:
                outdated.append(name)
            elif change != "unchanged":
                problems.append(bad("deployments", f"{name} differs from prefect.yaml: {change}", repair))
            if lacking := _lacking_triggers(client, deployment):
                message = f"{name}: {lacking} of its {len(deployment['triggers'])} triggers are missing or disabled"
                problems.append(bad("deployments", message, repair))
        leftovers = [leftover.name for leftover in dropped(client, declared)]
    yield from problems
    if leftovers:
        message = f"{', '.join(leftovers)}: still deployed with its schedule, and prefect.yaml has it no more"
        yield look("deployments", message, repair)
    if outdated:
        message = f"{len(outdated)} of {len(declared)} flows are deployed from another commit"
        yield look("deployments", message, repair)
    if not problems and not outdated and not leftovers:
        yield good("deployments", f"{len(declared)} flows are deployed as in prefect.yaml, their triggers are enabled")


def _lacking_triggers(client: SyncPrefectClient, declared: dict[str, Any]) -> int:
    """Count the triggers of a deployment that are missing or disabled."""
    deployment = client.read_deployment_by_name(full_name(declared))
    related = client.read_resource_related_automations(f"prefect.deployment.{deployment.id}")
    enabled = [
        automation
        for automation in related
        if automation.enabled
        and any(getattr(action, "deployment_id", None) == deployment.id for action in automation.actions)
    ]
    return max(0, len(declared.get("triggers", [])) - len(enabled))


def automations(target: Target) -> Iterator[Finding]:
    """Check that every automation equals its file."""
    from cli.deploy.automations import apply

    with get_client(sync_client=True) as client:
        changes = apply(declared_automations(client), dry_run=True, client=client)
    words = {"created": "is missing", "updated": "differs from its file", "deleted": "has no file"}
    for name, change in changes.items():
        if change != "unchanged":
            yield bad("automations", f"{name}: {words[change]}", target.repair("automations"))
    if set(changes.values()) <= {"unchanged"}:
        yield good("automations", f"{len(changes)} automations equal their files")


def connections(target: Target) -> Iterator[Finding]:
    """Check that Airbyte agrees with `sources/`."""
    from tasks.upkeep.agreement import agree

    agreement = agree(dry_run=True)
    changes = [change for change in agreement.changes if change.action in ("create", "update")]
    for change in changes:
        differences = "; ".join(change.lines) or "see the plan"
        problem = "is missing" if change.action == "create" else f"differs: {differences}"
        message = f"{change.kind} {change.name} in Airbyte {problem}"
        yield bad("connections", message, target.remedy(Remedy.APPLY_CONNECTIONS))
    if not changes:
        yield good("connections", f"{len(agreement.changes)} objects in Airbyte agree with sources/")
