"""A Cloud Storage server on 127.0.0.1 for the official clients, with real notifications to Pub/Sub."""
