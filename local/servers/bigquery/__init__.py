"""A BigQuery emulator for tests: a package of its own in an environment of its own, and what it lacks."""
