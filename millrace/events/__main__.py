"""Looks at messages that could not be delivered, and deals with them: `python -m millrace.events dead-letters list`."""

import argparse
import json
import logging
import sys

from millrace.domain.dead_letters import Sorted
from millrace.domain.errors import MillraceError
from millrace.domain.names import TOPICS
from millrace.events.dead_letters import DeadLetters
from millrace.events.reasons import why_refused
from millrace.events.sort import sort
from millrace.settings import load_settings

EXAMPLES = """examples:
  python -m millrace.events dead-letters list                                         all, with the reason of each
  python -m millrace.events dead-letters redrive --topic lake-landed --dry-run        what would be published again
  python -m millrace.events dead-letters redrive --id 17 --id 18                      publish two of them again
  python -m millrace.events dead-letters drop --id 19 --reason "sent by a test"       forget one for good
Project and address are the settings' (events.project, events.endpoint). To publish one again is harmless: runs ask
lake and ledger what is left to do."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m millrace.events",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("what", choices=["dead-letters"])
    made.add_argument("action", choices=["list", "redrive", "drop"])
    made.add_argument("--topic", action="append", default=[], help=f"{', '.join(TOPICS)}; may be repeated (all)")
    made.add_argument("--id", action="append", default=[], help="this message only; may be repeated (all)")
    made.add_argument("--reason", default="", help="why messages are dropped; needed for that")
    made.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    made.add_argument("--json", action="store_true", help="print one JSON object a line")
    return made


def text(one: Sorted) -> str:
    """A dead letter for people."""
    return (
        f"{one.topic}  {one.id}  {one.done}\n  published {one.published}, tried {one.attempts} times\n"
        f"  refused for: {one.why}\n  attributes {json.dumps(one.attributes)}\n  data {one.data[:300]}"
    )


def main() -> int:
    """Entry point; 0 when all went well, 1 on a named error."""
    options = parser().parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        events = load_settings().events
        done = sort(
            DeadLetters(events.project, events.endpoint),
            options.action,
            why_refused,
            topics=options.topic,
            ids=options.id,
            reason=options.reason,
            dry_run=options.dry_run,
        )
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for one in done:
        print(one.model_dump_json() if options.json else text(one))
    if not done:
        print("no dead letters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
