"""Settings: one typed tree, from a TOML file and the environment."""

from millrace.settings.tree import Settings, load_settings

__all__ = ["Settings", "load_settings"]
