"""A Secret Manager on 127.0.0.1 for the official client."""
