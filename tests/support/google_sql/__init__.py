"""Google's own analyser of BigQuery's SQL, catalogues of the platform's tables, and all statements that it runs."""
