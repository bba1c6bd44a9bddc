"""A Pub/Sub server on 127.0.0.1 for the official clients."""
