"""Connectors that come with the platform: they speak the Airbyte protocol and run on one machine."""
