"""Prefect flows, one a file: each reads like the diagram, without I/O or SQL of its own."""
