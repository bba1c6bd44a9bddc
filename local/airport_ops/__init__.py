"""The demo's source: nycflights13 replayed as an airport's operations database, and its connector."""
