"""Run the local Airbyte: `python -m local.airbyte --port P --state DIR --storage URL --bucket B --secrets ADDRESS`."""

import os

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from local.airbyte.app import Api
from local.airbyte.secrets import Secrets
from local.airbyte.store import Store
from local.airbyte.sync import Runner
from local.serving import common_options, option_parser, owned, serve_http


def main() -> None:
    """Serve until told to end."""
    parser = option_parser("airbyte", "Airbyte for one machine.")
    parser.add_argument("--storage", required=True, help="http://HOST:PORT of Cloud Storage")
    parser.add_argument("--bucket", required=True, help="the lake's bucket")
    parser.add_argument("--secrets", required=True, help="HOST:PORT of Secret Manager")
    parser.add_argument("--project", default="millrace-local", help="project of the secrets")
    parsed = parser.parse_args()
    options = common_options(parsed)
    client = storage.Client(
        project=parsed.project, credentials=AnonymousCredentials(), client_options={"api_endpoint": parsed.storage}
    )
    bucket = client.bucket(parsed.bucket)

    def upload(name: str, data: bytes, metadata: dict[str, str]) -> None:
        blob = bucket.blob(name)
        blob.metadata = metadata
        blob.upload_from_string(data, content_type="application/octet-stream")

    credentials = (os.environ["MILLRACE_AIRBYTE_CLIENT_ID"], os.environ["MILLRACE_AIRBYTE_CLIENT_SECRET"])
    with owned(options.state):
        store = Store(options.state / "airbyte.sqlite")
        runner = Runner(store, Secrets(parsed.secrets, parsed.project), upload, options.state / "logs")
        try:
            serve_http("airbyte", Api(store, runner, credentials).application(), options)
        finally:
            runner.close()


if __name__ == "__main__":
    main()
