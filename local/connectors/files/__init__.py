"""CSV, JSON lines and Parquet of a folder or a bucket: new and changed files, each row by its file and number."""
