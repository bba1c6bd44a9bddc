"""The platform on one machine: `python -m local up|down|status|env|run`."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from local.demo.say import Say
from local.stack.environment import platform_settings, prefect_settings, process_environment
from local.stack.local_stack import BUCKET, load_stack
from local.stack.supervise import is_held
from local.stack.supervisor import StackError, answers
from local.stack.up import down, up
from millrace.domain import names
from millrace.domain.errors import MillraceError
from millrace.project import VARIABLE, current_project

EXPORTED = ("PUBSUB_EMULATOR_HOST", "STORAGE_EMULATOR_HOST", "MILLRACE_STATE", "NO_PROXY", "no_proxy")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cli = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    cli.add_argument("--state", type=Path, help="directory of all state (.millrace of the project)")
    commands = cli.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run days of real data through all steps, and check every figure")
    run.add_argument(
        "--days", type=_days, default=7, help="days of January 2013 to replay, after those already replayed (7)"
    )
    run.add_argument("--exit", action="store_true", help="stop the stack when done, instead of waiting for Ctrl-C")
    commands.add_parser("up", help="start the stack and leave it running")
    commands.add_parser("down", help="stop the stack; its data stays")
    status_ = commands.add_parser("status", help="list the servers, their addresses and whether they answer")
    status_.add_argument("--json", action="store_true", help="one JSON document")
    commands.add_parser("env", help='print the environment for the platform\'s commands in a terminal: eval "$(… env)"')
    return cli


def _days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 365:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to 365")
    return int(text)


def status(state: Path, say: Say, *, as_json: bool = False) -> int:
    """Print every server with its address and whether it answers; return 3 when the stack is down."""
    if not is_held(state):
        return report_down(state)
    stack = load_stack(state)
    pids = json.loads((state / "pids.json").read_text())
    ports = {**dict(sorted(stack.ports.items())), "worker": None}
    servers = [
        {
            "server": name,
            "address": f"127.0.0.1:{port}" if port else "",
            "pid": pids.get(name),
            "answers": answers(f"tcp://127.0.0.1:{port}") if port else name in pids,
            "log": str(state / "logs" / f"{name}.log"),
        }
        for name, port in ports.items()
    ]
    if as_json:
        say(json.dumps(servers, indent=1))
        return 0
    for server in servers:
        answering = "answers" if server["answers"] else "DOES NOT ANSWER"
        say(f"  {server['server']:<10} {server['address']:<16} {answering}, process {server['pid'] or 'unknown'}")
    say(f"  the status page: {stack.http('storage')}/{BUCKET}/{names.STATUS_PAGE}")
    return 0


def report_down(state: Path) -> int:
    """Print on standard error that the stack is down and how to start it; return 3."""
    print(f"the stack is down (state in {state}); start it with `millrace up`", file=sys.stderr)
    return 3


def environment(state: Path, say: Say) -> int:
    """Print the stack's environment as shell exports; return 3 when the stack is down."""
    if not is_held(state):
        return report_down(state)
    stack = load_stack(state)
    variables = process_environment(stack)
    for name in (*platform_settings(stack), *prefect_settings(stack), *EXPORTED):
        say(f"export {name}={shlex.quote(variables[name])}")
    say(f"export {VARIABLE}={shlex.quote(str(current_project().folder))}")
    return 0


def main() -> int:
    """Run one command; return its exit code."""
    options, say = parser().parse_args(), Say()
    try:
        state = (options.state or current_project().state).resolve()
        if options.command == "run":
            from local.demo.run import run

            return run(state, options.days, leave=options.exit, say=say)
        if options.command == "up":
            from local.demo.run import links

            links(up(state, say, detached=True), say)
            return 0
        if options.command == "down":
            say("the stack is down" if down(state) else "no stack was running")
            return 0
        if options.command == "env":
            return environment(state, say)
        return status(state, say, as_json=options.json)
    except (StackError, MillraceError) as error:
        say.error(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
