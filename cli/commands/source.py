"""`millrace source add | check | sample | refresh | lock`: sources, from their own catalog to a contract."""

import subprocess
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli import codes, show
from cli.environment import enter, environment_of

Name = Annotated[str, typer.Argument(metavar="NAME", help="name of the source")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(no_args_is_help=True, help="Sources: add one by its connector, check it, look at its rows.")
    group.command(
        epilog="Example: millrace source add shop --connector postgres --config host=db --config database=shop"
        " --config username=reader --config password=env:PGPASSWORD --streams customers,orders"
    )(add)
    group.command(epilog="Example: millrace source check shop")(check)
    group.command(epilog="Example: millrace source sample shop orders --rows 5")(sample)
    group.command(epilog="Example: millrace source refresh shop")(refresh)
    group.command(epilog="Example: millrace source lock airbyte/source-github")(lock)
    app.add_typer(group, name="source", rich_help_panel="Set-up")


def add(
    context: typer.Context,
    name: Name,
    connector: Annotated[str, typer.Option(help="postgres, mysql, files, faker, or the image of another connector")],
    config: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="option of the connector; a.b=… is inside a; env:NAME is a variable's value"
        ),
    ] = None,
    url: Annotated[str, typer.Option(help="address of a database: postgresql://user:password@host:5432/name")] = "",
    streams: Annotated[str, typer.Option(help="names of tables or files, with commas (default: all)")] = "",
    cdc: Annotated[bool, typer.Option("--cdc", help="read the database's log, with deletes")] = False,
    owner: Annotated[str, typer.Option(help="who is asked about the source")] = "",
    force: Annotated[bool, typer.Option("--force", help="write a contract that exists anew")] = False,
    as_json: AsJson = False,
) -> None:
    """Discover a source; write its contract, staging models and expectations. Secrets go to Secret Manager."""
    environment = enter(context)
    from cli.connector_runs import ConnectorRun
    from cli.new_source import check_new, find_connector, propose_source, write_source
    from cli.source_config import ask_missing, parse_options, split_secrets
    from millrace.project import Project

    project, known = Project(environment.project), find_connector(connector)
    check_new(project, name, force=force)
    run = ConnectorRun(known.image)
    schema = run.spec()
    options = [*(config or []), *(["replication_method.method=CDC"] if cdc else [])]
    run.config = parse_options(options, schema, url)
    ask_missing(run.config, schema, _ask if sys.stdin.isatty() and not as_json else None)
    shown, secrets = split_secrets(name, run.config, schema)
    named = [part.strip() for part in streams.split(",") if part.strip()]
    new = propose_source(name, known, shown, run, named, owner, datetime.now(UTC))
    _keep_secrets(secrets)
    files = [path.relative_to(project.folder).as_posix() for path in write_source(project, new)]
    if as_json:
        modes = {p.name: {"mode": p.contract["mode"], "remarks": p.remarks} for p in new.proposals}
        show.as_json({"files": files, "streams": modes, "left_out": new.left_out, "secrets": list(secrets)})
        return
    rows = [(p.name, p.contract["mode"], _key(p.contract["key"]), len(p.contract["columns"])) for p in new.proposals]
    show.table(("stream", "mode", "key", "columns"), rows)
    show.lines([*files, *(f"secret {secret} is in Secret Manager" for secret in secrets)])
    show.lines(f"left out {stream}: {reason}" for stream, reason in new.left_out.items())
    show.line(f"look at sources/{name}.yaml; next: {_next_steps(environment.command, name)}", "good")


def _key(key: object) -> str:
    return ", ".join(key) if isinstance(key, list) else "the row's position"


def _next_steps(command: str, name: str) -> str:
    steps = ("deploy", f"start ingest -p source={name}")
    return " && ".join(f"{command} {step}" for step in steps)


def _ask(option: str, hidden: bool) -> str:
    text = f"{option}{' (empty for none)' if hidden else ''}"
    return str(typer.prompt(text, hide_input=hidden, default="" if hidden else None, show_default=False))


def _credentials() -> Any:
    from blocks.secrets import MillraceCredentials
    from millrace.settings import load_settings

    settings = load_settings()
    return MillraceCredentials(project=settings.events.project, endpoint=settings.secrets.endpoint)


def _keep_secrets(values: dict[str, str]) -> None:
    from cli.deploy.add_secret import add_version

    for name, value in values.items():
        add_version(_credentials(), name, value.encode(), disable_old=False)


def check(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Connect to a source, and compare its streams with the contract; exit code 1 when one is missing."""
    from cli.existing_source import open_source

    source, run = open_source(enter(context), name)
    run.check()
    available = [stream["name"] for stream in run.streams()]
    missing = [stream for stream in source.streams if stream not in available]
    if as_json:
        show.as_json({"source": name, "streams": available, "missing": missing})
    else:
        show.line(f"{name}: connected; it has {', '.join(available)}", "good")
        show.lines(f"{stream}: the contract has it, the source does not" for stream in missing)
    if missing:
        raise typer.Exit(codes.WRONG)


def sample(
    context: typer.Context,
    name: Name,
    stream: Annotated[str, typer.Argument(help="name of a stream")],
    rows: Annotated[int, typer.Option(min=1, max=10_000, help="how many rows")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show some rows of a stream as they come from the source; nothing is landed."""
    from cli.existing_source import open_source
    from cli.new_source import choose

    _, run = open_source(enter(context), name)
    chosen, _ = choose(run.streams(), [stream])
    found = run.sample(chosen, rows)[stream]
    if as_json:
        show.as_json(found)
    elif found:
        show.table(list(found[0]), [list(row.values()) for row in found])
    else:
        show.line(f"{name}.{stream} has no rows")


def refresh(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Show what differs between the source's catalog and its contract, as lines for the contract; changes nothing."""
    from cli.existing_source import open_source
    from millrace.contracts.catalog_diff import compare

    source, run = open_source(enter(context), name)
    differences = compare(source, run.streams())
    if as_json:
        show.as_json([difference.model_dump() for difference in differences])
    elif differences:
        show.lines(str(difference) for difference in differences)
    else:
        show.line(f"sources/{name}.yaml has all that the source has", "good")


def lock(context: typer.Context, image: Annotated[str, typer.Argument(help="image in [airbyte.connectors]")]) -> None:
    """Pin the packages of a connector of the setting airbyte.connectors, with hashes, in the project."""
    import os

    from millrace.project import CODE, VARIABLE

    variables = os.environ | {VARIABLE: str(environment_of(context).project)}
    command = [sys.executable, "-m", "local.connectors", "lock", image]
    raise typer.Exit(subprocess.run(command, cwd=CODE, env=variables, check=False).returncode)  # noqa: S603  our own module
