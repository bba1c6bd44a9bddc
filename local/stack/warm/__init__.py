"""Starts Python commands quickly: libraries are imported once, each command is a fork of that process."""
