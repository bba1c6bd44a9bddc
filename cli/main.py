"""The commands of `millrace` and the options that all of them have; each imports what it needs when it runs."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli import codes
from cli.commands import connections, doctor, flows, letters, pages, secrets, stack, status
from cli.errors import sentence
from cli.place import Where
from cli.show import error

ROOT = Path(__file__).resolve().parents[1]


class Commands(TyperGroup):
    """The group that turns an exception into one sentence and an exit code."""

    def invoke(self, ctx: Any) -> object:
        """Run a command; an exception is told in one sentence, with its traceback only after `--debug`."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except Exception as problem:  # whatever it is, people read a sentence, and scripts a code
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
for module in (stack, status, flows, letters, connections, secrets, doctor, pages):
    module.add_to(app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"millrace {version('millrace')}")
        raise typer.Exit


@app.callback()
def millrace(
    context: typer.Context,
    place: Annotated[
        str | None,
        typer.Option(
            envvar="MILLRACE_CONFIG",
            help="settings of the platform: a name in config/ such as gcp, or a .toml file; left out, it is the stack"
            " on this machine",
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(envvar="MILLRACE_STATE", help="state of the stack on this machine (.millrace)")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version, and end")
    ] = False,
) -> None:
    """From any source into the lake, exactly once into the warehouse, as marts to people: a data platform.

    Start with [bold]millrace up[/bold], then [bold]millrace status[/bold]. When something is wrong:
    [bold]millrace doctor[/bold]. Tab completion: [bold]millrace --install-completion[/bold].
    """
    source = context.get_parameter_source("place")
    elsewhere = place is not None and (state is None or (source is not None and source.name == "COMMANDLINE"))
    folder = None if elsewhere else (state or ROOT / ".millrace").resolve()
    context.obj = Where(root=ROOT, state=folder, place=place, inherited=dict(os.environ))


def main() -> None:
    """Entry point of `millrace`."""
    app(prog_name="millrace")
