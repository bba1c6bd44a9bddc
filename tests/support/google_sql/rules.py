"""What BigQuery forbids and its analyser does not know: statements, names and sizes in, Refused out.

Each rule has its page of Google's documentation; docs/bigquery.md lists them all.
"""

import re
from collections.abc import Iterable

from millrace.domain.column_names import BIGQUERY_PREFIXES
from tests.support.google_sql.service import Refused
from tests.support.google_sql.tables import Columns

MOST_TEXT = 1024 * 1024  # characters: https://cloud.google.com/bigquery/quotas#query_jobs
MOST_PARAMETERS = 10_000
MOST_COLUMNS, MOST_COLUMN_NAME = 10_000, 300  # https://cloud.google.com/bigquery/docs/schemas#column_names
MOST_NAME = 1024  # of a dataset or table: https://cloud.google.com/bigquery/docs/tables#table_naming
MOST_CLUSTERED = 4
# https://cloud.google.com/bigquery/docs/transactions#supported_statements
IN_TRANSACTIONS = frozenset(
    {
        "ResolvedQueryStmt",
        "ResolvedInsertStmt",
        "ResolvedUpdateStmt",
        "ResolvedDeleteStmt",
        "ResolvedMergeStmt",
        "ResolvedTruncateStmt",
        "ResolvedCommitStmt",
        "ResolvedRollbackStmt",
    }
)
DATASET = re.compile(r"\w{1,1024}", re.ASCII)
TABLE = re.compile(r"[\w -]{1,1024}")
COLUMN = re.compile(r"[A-Za-z_]\w{0,299}", re.ASCII)
CALL = re.compile(r"\b([A-Z][A-Z0-9_]+)\s*\(")
NO_CODE = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|/\*.*?\*/|--[^\n]*|#[^\n]*", re.S)
NO_FUNCTIONS = frozenset(
    {
        "AND",
        "AS",
        "BY",
        "EXISTS",
        "IN",
        "INSERT",
        "JOIN",
        "LABELS",
        "NOT",
        "NUMERIC",
        "BIGNUMERIC",
        "ON",
        "OPTIONS",
        "OR",
        "REPLACE",
        "SELECT",
        "THEN",
        "USING",
        "VALUES",
        "WHERE",
        "STRUCT",
        "FROM",
        "CLUSTER",
        "SET",
        "INTO",
        "OVER",
        "ALL",
        "BETWEEN",
        "CASE",
        "DISTINCT",
        "ELSE",
        "END",
        "EXCEPT",
        "HAVING",
        "IS",
        "LIKE",
        "LIMIT",
        "TABLE",
        "UNION",
        "VIEW",
        "WHEN",
        "WITH",
    }
)
# GoogleSQL has functions that BigQuery lacks: https://cloud.google.com/bigquery/docs/reference/standard-sql/functions-all
FUNCTIONS = frozenset(
    {
        "ABS",
        "ANY_VALUE",
        "ARRAY_AGG",
        "ARRAY_LENGTH",
        "CAST",
        "COALESCE",
        "CONCAT",
        "COUNT",
        "COUNTIF",
        "CURRENT_TIMESTAMP",
        "DATE",
        "DATE_TRUNC",
        "FARM_FINGERPRINT",
        "FORMAT",
        "FROM_HEX",
        "GENERATE_ARRAY",
        "GREATEST",
        "IF",
        "LOGICAL_OR",
        "MAX",
        "MIN",
        "MOD",
        "NULLIF",
        "OFFSET",
        "PARSE_JSON",
        "RANGE_BUCKET",
        "STRING_AGG",
        "SUBSTR",
        "SUM",
        "TIMESTAMP_TRUNC",
        "TO_HEX",
        "TO_JSON_STRING",
        "UNNEST",
        "AVG",
        "DATE_ADD",
        "DATE_SUB",
        "DATE_DIFF",
        "DATETIME",
        "EXTRACT",
        "LOWER",
        "UPPER",
        "TRIM",
        "LENGTH",
        "ROUND",
        "FLOOR",
        "CEIL",
        "IFNULL",
        "LAG",
        "LEAD",
        "RANK",
        "ROW_NUMBER",
        "SAFE_CAST",
        "TIMESTAMP",
        "TIMESTAMP_ADD",
        "TIMESTAMP_SUB",
        "TIMESTAMP_DIFF",
        "STARTS_WITH",
        "REGEXP_CONTAINS",
        "LOGICAL_AND",
        "UNIX_SECONDS",
    }
)


def check_text(sql: str, parameters: int) -> None:
    """Refuse a query that is too long, has too many parameters, or calls a function that BigQuery does not have."""
    if len(sql) > MOST_TEXT:
        raise Refused(f"the query has {len(sql)} characters, and BigQuery takes {MOST_TEXT}")
    if parameters > MOST_PARAMETERS:
        raise Refused(f"the query has {parameters} parameters, and BigQuery takes {MOST_PARAMETERS}")
    check_calls(sql)


def check_functions(sql: str) -> None:
    """Refuse a query of another program, which writes functions in either case, that calls an unknown function."""
    check_calls(NO_CODE.sub(" ", sql).upper())


def check_calls(sql: str) -> None:
    """Refuse a text in which a function is called that is not on the list of BigQuery's."""
    if unknown := set(CALL.findall(sql)) - NO_FUNCTIONS - FUNCTIONS:
        raise Refused(f"{', '.join(sorted(unknown))}: not on the list of BigQuery's functions in {sql}")


def check_in_transaction(kind: str, *, temporary: bool) -> None:
    """Refuse a statement that a transaction can't have: all DDL but that of temporary tables."""
    if kind not in IN_TRANSACTIONS and not temporary:
        raise Refused(f"{kind} is not supported within a transaction")


def check_insert(table: str, required: Iterable[str], columns: Iterable[str]) -> None:
    """Refuse an INSERT that leaves out a column that is NOT NULL."""
    if missing := set(required) - set(columns):
        raise Refused(f"the INSERT into {table} has no value for {', '.join(sorted(missing))}, which is NOT NULL")


def check_table(name: str, columns: Columns) -> None:
    """Refuse names that BigQuery does not take for a dataset, a table or its columns."""
    *_, dataset, table = ["", "", *name.split(".", 2)]
    if (dataset and not DATASET.fullmatch(dataset)) or not TABLE.fullmatch(table):
        raise Refused(f"{name} can't be the name of a table")
    folded = [column.casefold() for column in columns]
    if len(set(folded)) < len(folded) or len(folded) > MOST_COLUMNS:
        raise Refused(f"{name} has columns whose names differ only by case, or more than {MOST_COLUMNS}")
    for column in columns:
        if not COLUMN.fullmatch(column) or column.casefold().startswith(BIGQUERY_PREFIXES):
            raise Refused(f"{column} can't be the name of a column")
