"""Run the identity server: `python -m local.servers.identity --port P --state DIR --project PROJECT`."""

from local.servers.identity.app import identity_app
from local.servers.identity.tokens import write_service_account
from local.servers.serving import common_options, option_parser, owned, serve_http


def main() -> None:
    """Serve until SIGTERM or the end of the parent."""
    parser = option_parser("identity", "Google's certificates and token endpoint for one machine.")
    parser.add_argument("--project", default="millrace-local", help="project of the service account")
    parser.add_argument("--account", default="", help="account as whose metadata server it serves too")
    parsed = parser.parse_args()
    options = common_options(parsed)
    with owned(options.state):
        write_service_account(options.state, parsed.project, f"http://127.0.0.1:{options.port}/token")
        serve_http("identity", identity_app(options.state, parsed.account, parsed.project), options)


if __name__ == "__main__":
    main()
