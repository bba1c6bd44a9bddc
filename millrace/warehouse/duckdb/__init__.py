"""The warehouse in DuckDB files; imports the port beside it, never another engine."""
