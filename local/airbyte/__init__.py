"""Airbyte on one machine: its public API, connectors as subprocesses, and its GCS destination."""
