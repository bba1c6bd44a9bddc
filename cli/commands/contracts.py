"""`millrace contracts write | check | release | terraform-names`: contracts and the files that follow from them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cli import show
from millrace.project import current_project

TFVARS = "terraform/names.auto.tfvars.json"
Root = Annotated[Path | None, typer.Option("--root", help="folder of the project (default: the current project)")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(no_args_is_help=True, help="Contracts in sources/ and the files that follow from them.")
    group.command(epilog="Example: millrace contracts write")(write)
    group.command(epilog="Example: millrace contracts check")(check)
    group.command(epilog="Example: millrace contracts release")(release)
    group.command("terraform-names", epilog=f"Example: millrace contracts terraform-names > {TFVARS}")(terraform_names)
    app.add_typer(group, name="contracts", rich_help_panel="Set-up")


def write(root: Root = None) -> None:
    """Write dbt sources, suites, schema and docs that differ from sources/*.yaml; print their names."""
    from millrace.contracts.generated import write

    folder = _folder(root)
    show.lines(path.relative_to(folder).as_posix() for path in write(folder))


def check(root: Root = None) -> None:
    """Fail when a generated file is stale, a contract breaks its released version, or an expectation fits no column."""
    from millrace.contracts.generated import check
    from millrace.project import Project
    from tasks.model.mart_columns import check_expectations

    folder = _folder(root)
    check(folder)
    check_expectations(Project(folder))


def release(root: Root = None) -> None:
    """Make the present contracts the released ones; print the files that changed."""
    from millrace.contracts.generated import release

    folder = _folder(root)
    show.lines(path.relative_to(folder).as_posix() for path in release(folder))


def terraform_names(root: Root = None) -> None:
    """Print the names of cloud resources as variables of Terraform, in JSON."""
    from millrace.cloud_names import terraform_variables
    from millrace.contracts.source import load_sources

    show.lines([json.dumps(terraform_variables(load_sources(_folder(root) / "sources").values()), indent=2)])


def _folder(root: Path | None) -> Path:
    return root.resolve() if root else current_project().folder
