"""Dashboards over the published marts: SQL files in; SVG charts, their data and one page out."""
