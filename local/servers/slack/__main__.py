"""Run the Slack inbox: `python -m local.servers.slack --port P --state DIR --token T`.

`MILLRACE_SLACK_TOKEN` is a token too, that the list of processes does not show.
"""

import os

from local.servers.serving import common_options, option_parser, owned, serve_http
from local.servers.slack.app import slack_app


def main() -> None:
    """Serve until SIGTERM or the end of the parent."""
    parser = option_parser("slack", "A Slack inbox for one machine.")
    parser.add_argument("--token", action="append", default=[], help="webhook path after /services/")
    parsed = parser.parse_args()
    tokens = [token for token in (*parsed.token, os.environ.get("MILLRACE_SLACK_TOKEN")) if token]
    if not tokens:
        parser.error("no --token")
    options = common_options(parsed)
    with owned(options.state):
        serve_http("slack", slack_app(options.state, tokens), options)


if __name__ == "__main__":
    main()
