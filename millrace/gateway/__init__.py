"""Pub/Sub push in, Prefect events out."""
