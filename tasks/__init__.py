"""Prefect tasks: one verb a file, retries beside the definition."""
