"""A BigQuery emulator for tests: a package in its own environment, with fixes for its gaps."""
