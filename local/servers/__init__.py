"""Local servers that speak the protocols of Google Cloud, Airbyte and Slack; each is a separate process."""
