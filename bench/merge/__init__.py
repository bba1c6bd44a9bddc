"""The merge beside what else could do it: raw DuckDB, dlt, element-wise Beam; `python -m bench.merge`."""
