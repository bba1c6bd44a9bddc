"""The platform on one machine: `python -m local up|down|status|env|run`."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from local.demo.say import Say
from local.stack.place import BUCKET, ROOT, load_place
from local.stack.supervise import is_held
from local.stack.supervisor import StackError, answers
from local.stack.up import down, up
from millrace.domain import names
from millrace.domain.errors import MillraceError

DEFAULT_STATE = ROOT / ".millrace"
TOLD = ("PUBSUB_EMULATOR_HOST", "STORAGE_EMULATOR_HOST", "MILLRACE_STATE", "NO_PROXY", "no_proxy")


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
    told = commands.add_parser("status", help="say what runs, and where")
    told.add_argument("--json", action="store_true", help="one JSON document")
    commands.add_parser("env", help='print what a terminal needs for the platform\'s commands: eval "$(… env)"')
    return made


def _days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 365:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days from 1 to 365")
    return int(text)


def status(state: Path, say: Say, *, as_json: bool = False) -> int:
    """Print every server with its address and whether it answers; 3 when the stack is down."""
    if not is_held(state):
        return is_down(state)
    place = load_place(state)
    pids = json.loads((state / "pids.json").read_text())
    ports = {**dict(sorted(place.ports.items())), "worker": None}
    found = [
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
        say(json.dumps(found, indent=1))
        return 0
    for one in found:
        answering = "answers" if one["answers"] else "DOES NOT ANSWER"
        say(f"  {one['server']:<10} {one['address']:<16} {answering}, process {one['pid'] or 'unknown'}")
    say(f"  the status page: {place.http('storage')}/{BUCKET}/{names.STATUS_PAGE}")
    return 0


def is_down(state: Path) -> int:
    """Say so on standard error, and what to do; 3."""
    print(f"the stack is down (state in {state}); `make up` starts it", file=sys.stderr)
    return 3


def environment(state: Path, say: Say) -> int:
    """Print the stack's addresses as a shell takes them; 3 when it is down."""
    if not is_held(state):
        return is_down(state)
    place = load_place(state)
    found = place.environment()
    for name in (*place.settings(), *place.prefect(), *TOLD):
        say(f"export {name}={shlex.quote(found[name])}")
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
        return status(state, say, as_json=options.json)
    except (StackError, MillraceError) as error:
        say.error(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
