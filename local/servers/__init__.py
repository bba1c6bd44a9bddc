"""Local servers that speak the protocols of Google Cloud, Airbyte and Slack; each starts by itself."""
