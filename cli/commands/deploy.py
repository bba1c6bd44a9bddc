"""`millrace deploy`: pools, blocks, deployments and automations of a Prefect server."""

from enum import StrEnum
from typing import Annotated

import typer

from cli import show
from cli.environment import enter


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

    Before flows are deployed, all automations are checked. Blocks have no dry run: without changes they are skipped.
    """
    enter(context)
    from cli.deploy.blocks import deploy_blocks
    from cli.deploy.declared_automations import check_automations, deploy_automations
    from cli.deploy.deployments import deploy_flows
    from cli.deploy.pools import deploy_pools

    if part in (None, Part.POOLS):
        show.lines(deploy_pools(dry_run=dry_run))
    if part in (None, Part.BLOCKS) and not dry_run:
        show.lines(deploy_blocks())
    if part is None:
        show.line(check_automations())
    if part in (None, Part.DEPLOYMENTS):
        show.lines(deploy_flows(dry_run=dry_run))
    if part in (None, Part.AUTOMATIONS):
        show.lines(deploy_automations(dry_run=dry_run))
