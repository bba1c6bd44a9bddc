"""Run the API: `python -m local.servers.notices --port P --state DIR`; the token is `notices`."""

from local.servers.notices.app import notices_app
from local.servers.serving import common_options, option_parser, owned, serve_http


def main() -> None:
    """Serve until SIGTERM or the end of the parent."""
    options = common_options(option_parser("notices", "Notices of airports, as a REST API.").parse_args())
    with owned(options.state):
        serve_http("notices", notices_app(options.state / "notices.json"), options)


if __name__ == "__main__":
    main()
