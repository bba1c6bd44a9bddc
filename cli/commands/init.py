"""`millrace init | upgrade`: a project of one's own, and its step to another version of the platform."""

from pathlib import Path
from typing import Annotated

import typer

from cli import show


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(rich_help_panel="Set-up", epilog="Examples: millrace init shop · millrace init . --name shop")(init)
    app.command(rich_help_panel="Set-up", epilog="Example: millrace upgrade")(upgrade)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="an empty folder, or one that does not exist yet")],
    name: Annotated[str, typer.Option(help="name of the project (default: that of the folder)")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="add the missing files to a folder that has some; none is changed")
    ] = False,
) -> None:
    """Make a project of your own: folders for sources, models, expectations, dashboards, alerts and settings."""
    from cli.new_project import create_project

    target = folder.resolve()
    written = create_project(target, name, force=force)
    show.lines(path.relative_to(target).as_posix() for path in written)
    steps = ([] if target == Path.cwd() else [f"cd {folder}"]) + ["git init", "millrace up"]
    show.line(f"{len(written)} files; next: {' && '.join(steps)}" if written else "nothing is missing", "good")


def upgrade() -> None:
    """Bring the project to the installed version of the platform: generated and missing files, and `millrace.toml`."""
    from cli import upgrade as steps
    from millrace.project import current_project

    project = current_project()
    if not project.marker.exists():
        return show.line(f"{project.folder} is the platform's checkout; `git pull` upgrades it", "warn")
    todo = list(steps.needs(project))
    show.lines(path.relative_to(project.folder).as_posix() for path in steps.upgrade(project))
    show.lines(todo)
    show.line(f"the project is written for millrace {steps.installed()}; look at `git diff`, then deploy", "good")
