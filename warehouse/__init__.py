"""The warehouse: merged tables, the ledger and the marts, behind a URL."""

from warehouse.port import Warehouse, open_warehouse

__all__ = ["Warehouse", "open_warehouse"]
