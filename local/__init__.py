"""Servers that speak the real protocols, so that the whole platform runs on one machine."""
