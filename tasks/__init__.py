"""Prefect tasks: one verb a file, with the retries in the decorator."""
