"""Airbyte: contracts in, connections of its API out; imports contracts and the domain."""
