"""The type of the function that reads the marts: a query over `marts.<table>` comes in, an Arrow table goes out."""

from collections.abc import Callable

import pyarrow as pa

SCHEMA = "marts."
ONLY_SELECT = "only one SELECT can be run here; merges alone change the warehouse"
Read = Callable[[str], pa.Table]
"""Each call reads the marts as they are published at that moment; merged tables and candidates are never opened."""
