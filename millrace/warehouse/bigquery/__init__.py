"""The warehouse in BigQuery; imports the port beside it, never another engine."""
