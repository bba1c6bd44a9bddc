"""Stand-ins for the programs that docs/deploy.md calls, which keep a cloud's state and refuse what the real ones do."""
