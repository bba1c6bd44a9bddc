"""Run the Slack inbox: `python -m local.slack --port P --state DIR --token T`."""

from local.serving import common_options, option_parser, owned, serve_http
from local.slack.app import slack_app


def main() -> None:
    """Serve until told to end."""
    parser = option_parser("slack", "A Slack inbox for one machine.")
    parser.add_argument("--token", action="append", required=True, help="webhook path after /services/")
    parsed = parser.parse_args()
    options = common_options(parsed)
    with owned(options.state):
        serve_http("slack", slack_app(options.state, parsed.token), options)


if __name__ == "__main__":
    main()
