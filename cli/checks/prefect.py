"""What stands on the Prefect server: its version, pools, blocks, limits, deployments with triggers, automations."""

import os
from collections.abc import Iterator
from typing import Any

import prefect
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import WorkerStatus

from blocks import names as block_names
from cli.checks.finding import Finding, Patient, good, look, wrong
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
from cli.deploy.deployments import FILE, variables
from cli.deploy.wanted_automations import wanted_automations
from millrace.contracts.source import load_sources
from millrace.domain.errors import SettingsError
from millrace.settings.tree import ROOT

VERSION_ONLY = "updated (version)"


def server(patient: Patient) -> Iterator[Finding]:
    """The server answers, and is of our client's version."""
    with get_client(sync_client=True) as client:
        there = client.api_version()
    if there.split("+")[0] != prefect.__version__.split("+")[0]:
        yield look("prefect", f"the server is Prefect {there}, the client {prefect.__version__}")
    else:
        yield good("prefect", f"Prefect {there} answers at {os.environ['PREFECT_API_URL']}")


def pools(patient: Patient) -> Iterator[Finding]:
    """The work pools are there, not paused, and have a worker."""
    mend = patient.mend("pools")
    used = sorted({patient.settings.pools.default, patient.settings.pools.dbt})
    with get_client(sync_client=True) as client:
        try:
            check_pools(client, patient.settings)
        except SettingsError as error:
            yield wrong("pools", str(error), mend)
            return
        problems = [finding for name in used for finding in _pool(client, patient, name)]
    yield from problems
    if not problems:
        yield good("pools", f"{', '.join(used)}: a worker is there")


def _pool(client: SyncPrefectClient, patient: Patient, name: str) -> Iterator[Finding]:
    pool = client.read_work_pool(name)
    if pool.is_paused:
        yield wrong("pools", f"work pool {name} is paused: no run starts", patient.mend("pools"))
    workers = client.read_workers_for_work_pool(name)
    if not pool.is_push_pool and not any(worker.status == WorkerStatus.ONLINE for worker in workers):
        mend = (
            f"{patient.where.command} down && {patient.where.command} up"
            if patient.where.state
            else (f"prefect worker start --pool {name}")
        )
        yield wrong("pools", f"work pool {name} has no worker: runs wait", mend)


def blocks(patient: Patient) -> Iterator[Finding]:
    """Blocks are registered and say what the settings say; every slot has its limit."""
    mend, sources = patient.mend("blocks"), load_sources(ROOT / "sources")
    with get_client(sync_client=True) as client:
        try:
            check_blocks(client)
        except SettingsError as error:
            yield wrong("blocks", str(error).partition(";")[0], mend)
            return
        outdated, missing = outdated_blocks(client, patient.settings), missing_limits(client, sources.values())
    for why in outdated:
        yield wrong("blocks", why, mend)
    if missing:
        yield wrong("blocks", f"no concurrency limit {', '.join(missing)}: two runs may do one thing", mend)
    if not outdated and not missing:
        yield good("blocks", "all are registered as the settings say, and every slot has its limit")


def slack(patient: Patient) -> Iterator[Finding]:
    """Prefect has the Slack URL that Secret Manager has."""
    from prefect_slack import SlackWebhook

    from blocks.load import registered
    from millrace.secrets import read_secret
    from tasks.upkeep.secret_states import credentials_of

    wanted = read_secret(credentials_of(patient.settings), patient.settings.slack.url_secret)
    if registered(SlackWebhook, block_names.SLACK).url.get_secret_value() == wanted:
        yield good("blocks", "Prefect has the newest Slack URL")
    else:
        told = f"the Slack URL in Prefect is not the newest of {patient.settings.slack.url_secret}: nobody is told"
        yield wrong("blocks", told, f"{patient.where.command} secrets rotate")


def deployments(patient: Patient) -> Iterator[Finding]:
    """Every flow is deployed as `prefect.yaml` says, and its triggers are there and on."""
    mend = patient.mend("deployments")
    wanted, problems, others = load_deployments(FILE, variables(patient.settings)), [], []
    with get_client(sync_client=True) as client:
        check_job_variables(client, wanted)
        for one in wanted:
            change = difference(client, one)
            if change == "created":
                problems.append(wrong("deployments", f"{one['name']} is not deployed", mend))
                continue
            if change == VERSION_ONLY:
                others.append(one["name"])
            elif change != "unchanged":
                problems.append(wrong("deployments", f"{one['name']} differs from prefect.yaml: {change}", mend))
            if lacking := _lacking_triggers(client, one):
                told = f"{one['name']}: {lacking} of its {len(one['triggers'])} triggers are gone or off"
                problems.append(wrong("deployments", told, mend))
    yield from problems
    if others:
        yield look("deployments", f"{len(others)} of {len(wanted)} flows are deployed from another commit", mend)
    if not problems and not others:
        yield good("deployments", f"{len(wanted)} flows are deployed as prefect.yaml says, their triggers are on")


def _lacking_triggers(client: SyncPrefectClient, wanted: dict[str, Any]) -> int:
    """How many triggers of a deployment are missing or disabled."""
    there = client.read_deployment_by_name(full_name(wanted))
    found = client.read_resource_related_automations(f"prefect.deployment.{there.id}")
    on = [a for a in found if a.enabled and any(getattr(x, "deployment_id", None) == there.id for x in a.actions)]
    return max(0, len(wanted.get("triggers", [])) - len(on))


def automations(patient: Patient) -> Iterator[Finding]:
    """Every automation is as its file says."""
    from cli.deploy.automations import apply

    with get_client(sync_client=True) as client:
        done = apply(wanted_automations(client), dry_run=True, client=client)
    words = {"created": "is missing", "updated": "differs from its file", "deleted": "has no file any more"}
    for name, change in done.items():
        if change != "unchanged":
            yield wrong("automations", f"{name}: {words[change]}", patient.mend("automations"))
    if set(done.values()) <= {"unchanged"}:
        yield good("automations", f"{len(done)} automations are as their files say")


def connections(patient: Patient) -> Iterator[Finding]:
    """Airbyte is as `sources/` says."""
    from tasks.upkeep.agreement import agree

    done = agree(dry_run=True)
    changes = [change for change in done.changes if change.action in ("create", "update")]
    for change in changes:
        told = (
            f"{change.kind} {change.name} in Airbyte is missing"
            if change.action == "create"
            else (f"{change.kind} {change.name} in Airbyte differs: {'; '.join(change.lines) or 'see the plan'}")
        )
        yield wrong("connections", told, f"{patient.where.command} connections apply")
    if not changes:
        yield good("connections", f"{len(done.changes)} things in Airbyte are as sources/ says")
