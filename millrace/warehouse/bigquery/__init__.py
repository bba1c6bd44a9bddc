"""The warehouse in BigQuery; it imports the port, never another engine."""
