"""Log records in; structured lines with a fixed vocabulary of events, and alerts on them, out."""
