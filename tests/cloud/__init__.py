"""The kit for a first project on Google Cloud: read-only checks, then the conformance suites, `make cloud-smoke`."""
