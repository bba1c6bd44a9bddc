"""The contract of a shop, for tests that need a source and not the demo's, and a project that has it."""

from pathlib import Path

from millrace.contracts.source import SourceContract, parse_source

TEXT = """
source: shop
version: 1
description: The database of a shop, read as change data capture.
connector:
  image: test/source-shop
  version: "1"
  config: {database: shop, password: {secret: shop-password}}
streams:
  orders:
    mode: cdc
    key: [id]
    order: [_ab_cdc_lsn]
    freshness: 36h
    columns: {id: {type: int64, nullable: false}, name: {type: string}, amount: {type: int64}}
  visits:
    mode: cdc
    key: [id]
    order: [_ab_cdc_lsn]
    freshness: 36h
    columns: {id: {type: int64, nullable: false}, page: {type: string}}
  customers:
    mode: cdc
    key: [id]
    order: [_ab_cdc_lsn]
    columns: {id: {type: int64, nullable: false}, name: {type: string}}
  carriers:
    mode: cdc
    key: [carrier]
    order: [_ab_cdc_lsn]
    columns: {carrier: {type: string, nullable: false}, name: {type: string}, updated_at: {type: timestamp}}
"""
SHOP: SourceContract = parse_source(TEXT, "shop.yaml")


def write_shop(folder: Path) -> Path:
    """Write a project whose only file is the contract; return its folder."""
    (folder / "sources").mkdir(parents=True)
    (folder / "sources" / "shop.yaml").write_text(TEXT)
    return folder
