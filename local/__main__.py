"""The platform on one machine: `python -m local up|down|status|env|run`."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from contracts import names
from contracts.errors import MillraceError
from local.demo.say import Say
from local.stack.place import BUCKET, ROOT, load_place
from local.stack.supervise import is_held
from local.stack.supervisor import StackError, answers
from local.stack.up import down, up

DEFAULT_STATE = ROOT / ".millrace"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    made.add_argument("--state", type=Path, default=DEFAULT_STATE, help="directory of all state (.millrace)")
    commands = made.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="take real data through all steps, and check every figure")
    run.add_argument("--days", type=_days, default=7, help="days of January 2013 to replay, from where it stands (7)")
    run.add_argument("--exit", action="store_true", help="end the stack when done, instead of staying up until Ctrl-C")
    commands.add_parser("up", help="start the stack and leave it running")
    commands.add_parser("down", help="end the stack; its data stays")
    commands.add_parser("status", help="say what runs, and where")
    commands.add_parser("env", help='print what a terminal needs for the platform\'s commands: eval "$(… env)"')
    return made


def _days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 365:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days from 1 to 365")
    return int(text)


def status(state: Path, say: Say) -> int:
    """Print every server with its address and whether it answers; 3 when the stack is down."""
    if not is_held(state):
        say(f"the stack is down (state in {state}); `make up` starts it")
        return 3
    place = load_place(state)
    pids = json.loads((state / "pids.json").read_text())
    for name, port in sorted(place.ports.items()):
        answering = "answers" if answers(f"tcp://127.0.0.1:{port}") else "DOES NOT ANSWER"
        say(f"  {name:<10} 127.0.0.1:{port:<6} {answering}, process {pids.get(name, 'unknown')}")
    say(f"  {'worker':<10} {'':<16} process {pids.get('worker', 'unknown')}")
    say(f"  the status page: {place.http('storage')}/{BUCKET}/{names.STATUS_PAGE}")
    return 0


def environment(state: Path, say: Say) -> int:
    """Print the stack's addresses as a shell takes them."""
    place = load_place(state)
    servers = {"PUBSUB_EMULATOR_HOST": place.grpc("pubsub"), "STORAGE_EMULATOR_HOST": place.http("storage")}
    for name, value in (place.settings() | place.prefect() | servers).items():
        say(f"export {name}={shlex.quote(value)}")
    return 0


def main() -> int:
    """Entry point."""
    options, say = parser().parse_args(), Say()
    state = options.state.resolve()
    try:
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
        return status(state, say)
    except (StackError, MillraceError) as error:
        say.error(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
