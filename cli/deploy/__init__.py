"""Deploys the platform to a Prefect server: pools, blocks, deployments and automations."""
