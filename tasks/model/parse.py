"""A dbt project and a candidate in; the parsed manifest of this candidate out, parsed only if it was not kept."""

import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner
from dbt.constants import PARTIAL_PARSE_FILE_NAME
from dbt.contracts.graph.manifest import Manifest
from dbt.parser.manifest import extended_mashumuro_decoder

from millrace.observability.events import log_event
from tasks.model.dbt import AS_OF, dbt_variables
from tasks.model.kept_manifests import KeptManifests
from tasks.model.manifest_key import manifest_key

log = logging.getLogger(__name__)

PLACEHOLDER = "millrace_candidate_to_come"
"""The candidate that dbt parses for; as long as the others' names, by which it is replaced in the parsed bytes."""
QUIET = ("--log-level", "none", "--log-level-file", "none")
SHOWN = ("warn", "error")


def parsed_manifest(
    project: Path, environment: Mapping[str, str], candidate: str, manifests: KeptManifests
) -> Manifest:
    """Return a manifest of its own for one dbt command that builds into a candidate.

    Raises:
        ValueError: dbt can't parse the project; with its message.
    """
    if len(candidate) != len(PLACEHOLDER):
        raise ValueError(f"the name {candidate} does not have the {len(PLACEHOLDER)} characters that it needs")
    neutral = {name: value.replace(candidate, PLACEHOLDER) for name, value in environment.items()} | {AS_OF: ""}
    key = manifest_key(project, {**os.environ, **neutral})
    if manifest := manifests.read(key):
        try:
            return _decode(manifest, candidate)
        except Exception as error:
            log_event(log, logging.WARNING, "model.manifest_refused", f"dbt can't read it: {error}", key=key)
            manifests.forget(key)
    manifest = _parse(project, neutral, manifests.newest())
    manifests.write(key, manifest)
    return _decode(manifest, candidate)


def _decode(content: bytes, candidate: str) -> Manifest:
    """Return the manifest as dbt has it after parsing; dbt changes it when it runs."""
    renamed = content.replace(PLACEHOLDER.encode(), candidate.encode())
    manifest: Manifest = Manifest.from_msgpack(renamed, decoder=extended_mashumuro_decoder)
    manifest.metadata.generated_at = datetime.now(UTC).replace(tzinfo=None)
    manifest.build_flat_graph()
    return manifest


def _parse(project: Path, environment: Mapping[str, str], newest: bytes | None) -> bytes:
    """Let dbt parse what differs from the newest manifest, or everything when it can't use that."""
    events: list[str] = []

    def note(event: Any) -> None:
        events.append(event.info.name)
        if event.info.level in SHOWN:
            log.warning("%s", event.info.msg)

    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        target: Path = Path(folder) / PARTIAL_PARSE_FILE_NAME
        if newest:
            target.write_bytes(newest)
        folders = ["--project-dir", str(project), "--profiles-dir", str(project)]
        with dbt_variables({**environment, "DBT_TARGET_PATH": folder, "DBT_LOG_PATH": folder}):
            result = dbtRunner(callbacks=[note]).invoke(["parse", "--no-write-json", *QUIET, *folders])
        if not result.success:
            raise ValueError(f"dbt can't parse {project}: {result.exception}")
        mode = "partial" if "PartialParsingEnabled" in events and "UnableToPartialParse" not in events else "full"
        log_event(log, logging.INFO, "model.parsed", mode=mode, seconds=round(time.monotonic() - begun, 2))
        return target.read_bytes()


def write_graph(manifest: Manifest, target: Path) -> None:
    """Write the part of dbt's `manifest.json` that the platform reads; dbt writes it only when it parses."""
    nodes = {
        name: {
            "name": node.name,
            "alias": node.alias,
            "resource_type": node.resource_type,
            "fqn": node.fqn,
            "config": {"materialized": node.config.materialized},
            "depends_on": {"nodes": node.depends_on_nodes},
        }
        for name, node in manifest.nodes.items()
    }
    sources = {
        name: {"name": node.name, "source_name": node.source_name, "resource_type": node.resource_type}
        for name, node in manifest.sources.items()
    }
    unit_tests = {
        name: {"name": test.name, "resource_type": test.resource_type, "depends_on": {"nodes": test.depends_on_nodes}}
        for name, test in manifest.unit_tests.items()
    }
    graph = {"nodes": nodes, "sources": sources, "unit_tests": unit_tests}
    (target / "manifest.json").write_text(json.dumps(graph))
