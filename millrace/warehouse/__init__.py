"""The warehouse: a port, and its adapters for DuckDB and BigQuery; without Prefect."""
