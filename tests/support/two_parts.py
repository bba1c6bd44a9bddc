"""A small project whose streams no model connects: orders with a table and a view, visits with an incremental table."""

import shutil
from pathlib import Path

from millrace.contracts.generated import generated_files
from millrace.contracts.source import load_sources
from tests.support.modelling import Modelling
from tests.support.servers import ROOT

SHARED = ("dbt_project.yml", "profiles.yml", "macros/generate_schema_name.sql", "macros/merged.sql")
SOURCE = """
source: shop
version: 1
connector: {image: a/b, version: "1"}
streams:
  orders:
    key: [id]
    expectations: [{type: expect_column_values_to_be_between, args: {column: amount, min_value: -100}}]
    columns: {id: {type: int64, nullable: false}, amount: {type: int64}}
  visits:
    key: [id]
    columns: {id: {type: int64, nullable: false}, page: {type: string}}
"""
MODELS = {
    "sales": "select id, amount from {{ live_rows('shop', 'orders') }} as o where amount <> 13 + 0 * cast('1' as int)",
    "sales_total": "{{ config(materialized='view') }} select sum(amount) as total from {{ ref('sales') }}",
    "traffic": "{{ config(materialized='incremental', unique_key='id') }}"
    " select id, page, {{ day() }} as day from {{ live_rows('shop', 'visits') }} as v",
    "calendar": "select 1 as day",
}
MACRO = "{% macro day() %}(select max(day) from {{ ref('calendar') }}){% endmacro %}"
SUITES = {
    "sales": "{type: expect_column_values_to_be_between, args: {column: amount, min_value: 0}}",
    "traffic": "{type: expect_column_values_to_not_be_null, args: {column: page}}",
}


def write_project(folder: Path) -> None:
    """Write the project into a folder."""
    models, suites = folder / "dbt_project" / "models" / "marts", folder / "expectations"
    for path in (folder / "sources", models, suites):
        path.mkdir(parents=True)
    for name in SHARED:
        (folder / "dbt_project" / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "dbt_project" / name, folder / "dbt_project" / name)
    project = folder / "dbt_project" / "dbt_project.yml"
    project.write_text(project.read_text().replace("+contract: {enforced: true}", ""))
    (folder / "dbt_project" / "macros" / "day.sql").write_text(MACRO)
    (folder / "sources" / "shop.yaml").write_text(SOURCE)
    for name, sql in MODELS.items():
        (models / f"{name}.sql").write_text(sql)
    for name, expectation in SUITES.items():
        (suites / f"{name}.yaml").write_text(f"mart: {name}\nexpectations: [{expectation}]\n")
    for path, text in generated_files(folder).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def two_parts(folder: Path) -> Modelling:
    """Return a warehouse with both streams, for the project in a folder."""
    return Modelling(folder, load_sources(folder / "sources")["shop"])
