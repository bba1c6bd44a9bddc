"""Prefect flows: they read like the diagram; no I/O, no SQL."""
