"""The warehouse in DuckDB files; it imports the port, never another engine."""
