"""`millrace contracts write | check | release | terraform-names`: contracts and the files that follow from them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cli import show

ROOT = Path(__file__).resolve().parents[2]
TFVARS = "terraform/names.auto.tfvars.json"
Root = Annotated[Path, typer.Option("--root", help="top of the checkout")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(no_args_is_help=True, help="Contracts in sources/ and the files that follow from them.")
    group.command(epilog="Example: millrace contracts write")(write)
    group.command(epilog="Example: millrace contracts check")(check)
    group.command(epilog="Example: millrace contracts release")(release)
    group.command("terraform-names", epilog=f"Example: millrace contracts terraform-names > {TFVARS}")(terraform_names)
    app.add_typer(group, name="contracts", rich_help_panel="Set-up")


def write(root: Root = ROOT) -> None:
    """Write dbt sources, suites, schema and docs that differ from sources/*.yaml; print their names."""
    from millrace.contracts.generated import write

    show.lines(path.relative_to(root).as_posix() for path in write(root))


def check(root: Root = ROOT) -> None:
    """Fail when a generated file is stale, or a contract breaks its released version."""
    from millrace.contracts.generated import check

    check(root)


def release(root: Root = ROOT) -> None:
    """Make the present contracts the released ones; print the files that changed."""
    from millrace.contracts.generated import release

    show.lines(path.relative_to(root).as_posix() for path in release(root))


def terraform_names(root: Root = ROOT) -> None:
    """Print the names of cloud resources as variables of Terraform, in JSON."""
    from millrace.cloud_names import terraform_variables
    from millrace.contracts.source import load_sources

    show.lines([json.dumps(terraform_variables(load_sources(root / "sources").values()), indent=2)])
