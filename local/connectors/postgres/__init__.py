"""Tables of PostgreSQL, by a cursor or by logical replication, with the configuration of `airbyte/source-postgres`."""
