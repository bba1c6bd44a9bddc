"""`millrace deploy`: pools, blocks, deployments and automations of a Prefect server."""

import os
from enum import StrEnum
from typing import Annotated

import typer

from cli import show
from cli.environment import Environment, enter
from millrace.project import VARIABLE, Project, current_project
from millrace.project_snapshot import deploy_snapshot, take_snapshot, version


class Part(StrEnum):
    """A part of the deployment."""

    POOLS = "pools"
    BLOCKS = "blocks"
    DEPLOYMENTS = "deployments"
    AUTOMATIONS = "automations"


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command(
        rich_help_panel="Set-up",
        epilog="Examples: millrace --env gcp deploy --dry-run · millrace deploy · millrace deploy automations",
    )(deploy)


def deploy(
    context: typer.Context,
    part: Annotated[Part | None, typer.Argument(help="one part only (default: all, in this order)")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the changes, and make none")] = False,
) -> None:
    """Deploy work pools, blocks, flows and automations to the Prefect server; idempotent.

    Before flows are deployed, all automations are checked. A dry run says all that would be made, also on a server that
    has nothing yet. On this machine the project's files are copied first: runs use the copy, and no edit changes it.
    Connections to sources are then applied as well; a connector that can't run here is refused before anything is made.
    """
    environment = enter(context)
    snapshot = _snapshot(environment) if not dry_run else None
    from cli.deploy.blocks import deploy_blocks
    from cli.deploy.declared_automations import check_automations, deploy_automations
    from cli.deploy.deployments import deploy_flows
    from cli.deploy.planned import plan_blocks
    from cli.deploy.pools import deploy_pools

    whole = part is None
    if whole and environment.state:
        from tasks.upkeep.agreement import check_sources

        check_sources()
    if part in (None, Part.POOLS):
        show.lines(deploy_pools(dry_run=dry_run))
    if part in (None, Part.BLOCKS):
        show.lines(plan_blocks() if dry_run else deploy_blocks())
    if whole:
        show.line(check_automations(planned=dry_run))
    if part in (None, Part.DEPLOYMENTS):
        if snapshot and environment.state:
            deploy_snapshot(snapshot, environment.state)
            show.line(f"runs use {environment.project} as it is now, version {version(snapshot)}")
        show.lines(deploy_flows(dry_run=dry_run, whole=whole))
    if part in (None, Part.AUTOMATIONS):
        show.lines(deploy_automations(dry_run=dry_run, whole=whole))
    if whole and snapshot:
        from tasks.upkeep.agreement import agree

        show.line(f"connections {agree(dry_run=False).summary}")


def _snapshot(environment: Environment) -> Project | None:
    """Copy the project for a stack on this machine, and deploy from the copy; elsewhere an image has the project."""
    if environment.state is None:
        return None
    snapshot = take_snapshot(current_project(), environment.state)
    os.environ[VARIABLE] = str(snapshot.folder)
    return snapshot
