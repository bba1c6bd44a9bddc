"""The data lake: an object store behind a URL."""
