"""Makes Airbyte agree with `sources/*.yaml`: `python -m blocks.connections apply [SOURCE ...]`.

A source, a destination and a connection per file, found by name: created when missing, patched when different.
Secrets are sent as references (`secret_coordinate::<name>`), which Airbyte resolves from Secret Manager on use.
"""

import argparse
import sys
from typing import Any

from blocks import MillraceAirbyte
from blocks import names as block_names
from blocks.airbyte_client import AirbyteClient
from blocks.load import registered
from contracts.errors import MillraceError
from contracts.names import RAW
from contracts.source import SecretReference, SourceContract, find_source, load_sources
from settings import load_settings
from settings.tree import ROOT

DESTINATION = "millrace-lake"
PATH_FORMAT = RAW + "${NAMESPACE}/${STREAM_NAME}/sync_id=${SYNC_ID}/"
SYNC_MODES = {"cdc": "incremental_append", "append": "incremental_append", "overwrite": "full_refresh_overwrite"}


def apply(client: AirbyteClient, source: SourceContract, lake_url: str) -> str:
    """Make one source's connection exist and agree; returns `created`, `updated` or `unchanged`."""
    workspace = client.call("GET", "/workspaces")["data"][0]["workspaceId"]
    definition = _definition(client, workspace, source)
    source_id, a = _agree(client, "/sources", "sourceId", source.source, {
        "workspaceId": workspace, "definitionId": definition, "configuration": _configuration(source),
    })  # fmt: skip
    destination_id, b = _agree(client, "/destinations", "destinationId", DESTINATION, {
        "workspaceId": workspace, "configuration": destination_configuration(lake_url),
    })  # fmt: skip
    _, c = _agree(client, "/connections", "connectionId", source.source, {
        "sourceId": source_id,
        "destinationId": destination_id,
        "namespaceDefinition": "custom_format",
        "namespaceFormat": source.source,
        "schedule": {"scheduleType": "manual"},
        "configurations": {"streams": [_stream(name, s.mode, s.order, s.key) for name, s in source.streams.items()]},
    })  # fmt: skip
    return max((a, b, c), key=["unchanged", "updated", "created"].index)


def _definition(client: AirbyteClient, workspace: str, source: SourceContract) -> str:
    path = f"/workspaces/{workspace}/definitions/sources"
    for definition in client.pages(path):
        if definition["dockerRepository"] == source.connector.image:
            return str(definition["id"])
    body = {
        "name": source.connector.image,
        "dockerRepository": source.connector.image,
        "dockerImageTag": source.connector.version,
    }
    return str(client.call("POST", path, json=body)["id"])


def _configuration(source: SourceContract) -> dict[str, Any]:
    return {
        key: f"secret_coordinate::{value.secret}" if isinstance(value, SecretReference) else value
        for key, value in source.connector.config.items()
    }


def destination_configuration(lake_url: str) -> dict[str, Any]:
    """Airbyte's GCS destination: Parquet in the lake's bucket, one folder per sync."""
    return {
        "destinationType": "gcs",
        "gcs_bucket_name": lake_url.removeprefix("gs://"),
        "gcs_bucket_path": "",
        "gcs_path_format": PATH_FORMAT,
        "format": {"format_type": "Parquet", "compression_codec": "SNAPPY"},
        "credential": {
            "credential_type": "HMAC_KEY",
            "hmac_key_access_id": "secret_coordinate::airbyte-hmac-id",
            "hmac_key_secret": "secret_coordinate::airbyte-hmac-secret",
        },
    }


def _stream(name: str, mode: str, order: tuple[str, ...], key: tuple[str, ...]) -> dict[str, Any]:
    return {
        "name": name,
        "syncMode": SYNC_MODES[mode],
        "cursorField": list(order[:1]),
        "primaryKey": [[column] for column in key],
    }


def _agree(client: AirbyteClient, path: str, id_field: str, name: str, wanted: dict[str, Any]) -> tuple[str, str]:
    """Create the item of that name, or patch what differs; returns its id and what was done."""
    for item in client.pages(path):
        if item["name"] == name:
            item_id = str(item[id_field])
            there = client.call("GET", f"{path}/{item_id}")
            fixed = ("workspaceId", "definitionId", "sourceId", "destinationId")
            changes = {k: v for k, v in wanted.items() if k not in fixed and there.get(k) != v}
            if not changes:
                return item_id, "unchanged"
            client.call("PATCH", f"{path}/{item_id}", json=changes)
            return item_id, "updated"
    return str(client.call("POST", path, json={"name": name, **wanted})[id_field]), "created"


def main() -> int:
    """Apply all sources, or those named."""
    parser = argparse.ArgumentParser(prog="python -m blocks.connections", description=__doc__)
    parser.add_argument("command", choices=["apply"])
    parser.add_argument("source", nargs="*", help="names of files in sources/ (default: all)")
    arguments = parser.parse_args()
    try:
        sources = load_sources(ROOT / "sources")
        wanted = [find_source(sources, name) for name in arguments.source] or list(sources.values())
        with registered(MillraceAirbyte, block_names.AIRBYTE).open() as client:
            for source in wanted:
                done = apply(client, source, load_settings().lake.url)
                print(f"{source.source}: {done}")
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
