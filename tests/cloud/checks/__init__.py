"""Read-only checks of a project, a module for each part."""
