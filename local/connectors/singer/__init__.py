"""A Singer tap as a connector of the Airbyte protocol: its catalog, records and states are translated."""
