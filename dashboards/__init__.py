"""Dashboards of this project: `boards.py` lists them; rows of a query in, a chart and a sentence out."""
