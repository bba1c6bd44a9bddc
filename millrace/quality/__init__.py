"""The quality gate: Great Expectations over candidates of the marts. Free of Prefect."""
