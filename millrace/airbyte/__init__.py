"""Airbyte: source contracts in, items and jobs of its API out."""
