"""A TOML file and environment variables in; settings, one typed tree, out."""

from millrace.settings.tree import Settings, load_settings

__all__ = ["Settings", "load_settings"]
