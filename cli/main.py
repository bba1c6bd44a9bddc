"""The commands of `millrace` and their common options; each command imports its libraries when it runs."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli import codes
from cli.commands import (
    connections,
    contracts,
    dashboards,
    data,
    dead_letters,
    deploy,
    doctor,
    explain,
    flows,
    init,
    pages,
    pauses,
    quality,
    secrets,
    source,
    sql,
    stack,
    status,
    streams,
)
from cli.environment import Options
from cli.errors import sentence
from cli.show import error
from millrace.project import VARIABLE


class Commands(TyperGroup):
    """The group that turns an exception into one sentence and an exit code."""

    def invoke(self, ctx: Any) -> object:
        """Run a command; an exception becomes one sentence, with its traceback only after `--debug`."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except Exception as problem:  # people read a sentence, and scripts a code
            if ctx.params.get("debug"):
                raise
            text, code = sentence(problem)
            error(text)
            raise typer.Exit(code) from None


app = typer.Typer(
    cls=Commands,
    name="millrace",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=codes.TEXT,
)
for module in (
    init,
    stack,
    status,
    doctor,
    explain,
    pages,
    sql,
    data,
    flows,
    pauses,
    dead_letters,
    quality,
    dashboards,
    streams,
    deploy,
    contracts,
    source,
    connections,
    secrets,
):
    module.add_to(app)


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"millrace {version('millrace')}")
        raise typer.Exit


@app.callback()
def millrace(
    context: typer.Context,
    environment: Annotated[
        str | None,
        typer.Option(
            "--environment",
            "--env",
            envvar="MILLRACE_CONFIG",
            help="settings of the platform: a name in config/ such as gcp, or a .toml file (default: the stack on this"
            " machine)",
        ),
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option(
            envvar=VARIABLE,
            help="folder of the project (default: the current folder or the nearest above with a millrace.toml)",
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(envvar="MILLRACE_STATE", help="folder of the stack on this machine (.millrace)")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    """Operate the data platform: exactly-once ingestion of any source, and validated marts.

    Start with [bold]millrace up[/bold], then [bold]millrace status[/bold]. On problems run
    [bold]millrace doctor[/bold]. Tab completion: [bold]millrace --install-completion[/bold].
    """
    chosen = context.get_parameter_source("environment")
    on_command_line = chosen is not None and chosen.name == "COMMANDLINE"
    inherited = dict(os.environ)
    if project is not None:
        os.environ[VARIABLE] = str(project.resolve())
    elsewhere = environment is not None and (state is None or on_command_line)
    context.obj = Options(
        name=environment, state=state, elsewhere=elsewhere, project=project and project.resolve(), inherited=inherited
    )


def main() -> None:
    """Entry point of `millrace`."""
    app(prog_name="millrace")
