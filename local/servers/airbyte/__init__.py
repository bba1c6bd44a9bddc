"""An Airbyte on 127.0.0.1: its public API, connectors as subprocesses, Parquet and Avro into the lake."""
