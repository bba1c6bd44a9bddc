"""Tables and views as the analyser knows them: resolved DDL in, a catalogue's tables with BigQuery's types out."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from zetasql.wasi._pb2.zetasql.public import type_pb2
from zetasql.wasi._pb2.zetasql.resolved_ast.resolved_ast_enums_pb2 import ResolvedCreateStatementEnums as Modes

from tests.support.google_sql.trees import field as part
from tests.support.google_sql.trees import kind, special

Columns: TypeAlias = dict[str, Any]
CODES = {"INTEGER": "INT64", "FLOAT": "DOUBLE", "FLOAT64": "DOUBLE", "BOOLEAN": "BOOL"}


@dataclass
class Table:
    """A table or view: the type of each column, its digits as written, and whether it is NOT NULL."""

    columns: Columns
    kind: str = "TABLE"
    required: set[str] = field(default_factory=set)
    digits: dict[str, tuple[int, int]] = field(default_factory=dict)
    query: str = ""


class Tables:
    """Tables by their full names; `version` changes with them."""

    def __init__(self) -> None:
        self.by_name: dict[str, Table] = {}
        self.version = 0

    def put(self, name: str, table: Table) -> None:
        self.by_name[name] = table
        self.version += 1

    def drop(self, name: str) -> None:
        if self.by_name.pop(name, None):
            self.version += 1

    def write(self, catalogue: Any, *, by_path: bool, default: str = "") -> None:
        """Add all tables to a catalogue's message, in which their columns may be changed.

        A table's name is one quoted identifier with dots, `by_path` also three; of those in the dataset `default` also
        the last one alone.
        """
        for name, table in self.by_name.items():
            paths = [[name], name.split(".")] if by_path else [[name]]
            if default and name.startswith(f"{default}."):
                paths.append([name.removeprefix(f"{default}.")])
            for *path, last in paths:
                added = _inner(catalogue, path).table.add(name=last, full_name=name)
                for column, declared in table.columns.items():
                    added.column.add(name=column, type=declared, is_writable_column=True)


def _inner(catalogue: Any, path: list[str]) -> Any:
    for name in path:
        known = [inner for inner in catalogue.catalog if inner.name == name]
        catalogue = known[0] if known else catalogue.catalog.add(name=name)
    return catalogue


def simple(code: str) -> Any:
    """Return a type of GoogleSQL by its name in SQL or in the API."""
    return type_pb2.TypeProto(type_kind=type_pb2.TypeKind.Value(f"TYPE_{CODES.get(code, code)}"))


def api_type(declared: Any) -> str:
    """Return the API's name of a type; that of an array is its items'."""
    if declared.type_kind == type_pb2.TYPE_ARRAY:
        declared = declared.array_type.element_type
    name = type_pb2.TypeKind.Name(declared.type_kind).removeprefix("TYPE_")
    return {"INT64": "INTEGER", "DOUBLE": "FLOAT", "BOOL": "BOOLEAN"}.get(name, name)


def change(tables: Tables, statement: Any) -> set[str]:
    """Apply a resolved statement's DDL; return names of tables that end with their script."""
    match kind(statement):
        case "ResolvedCreateTableStmt" | "ResolvedCreateTableAsSelectStmt":
            return _create(tables, statement)
        case "ResolvedCreateViewStmt":
            listed = {c.name: c.column.type for c in part(statement, "output_column_list")}
            tables.put(_name(statement), Table(listed, "VIEW", query=part(statement, "sql")))
        case "ResolvedAlterTableStmt":
            for action in part(statement, "alter_action_list"):
                _alter(tables, _name(statement), action)
        case "ResolvedDropStmt":
            tables.drop(_name(statement))
    return set()


def inserts(statement: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield the table and columns of each INSERT of a resolved statement."""
    match kind(statement):
        case "ResolvedInsertStmt":
            clauses = [statement]
        case "ResolvedMergeStmt":
            clauses = [clause for clause in part(statement, "when_clause_list") if part(clause, "insert_column_list")]
        case _:
            return
    scanned = part(part(statement, "table_scan"), "table")
    for clause in clauses:
        yield scanned.full_name or scanned.name, [column.name for column in part(clause, "insert_column_list")]


def _create(tables: Tables, statement: Any) -> set[str]:
    name, made = _name(statement), Table({})
    if name in tables.by_name and part(statement, "create_mode") == Modes.CREATE_IF_NOT_EXISTS:
        return set()
    own = special(statement)
    for source in ("clone_from", "copy_from"):
        if source in own.DESCRIPTOR.fields_by_name and own.HasField(source):
            scanned = part(getattr(own, source), "table")
            copied = tables.by_name[scanned.full_name or scanned.name]
            made = Table(dict(copied.columns), required=set(copied.required), digits=dict(copied.digits))
    for column in part(statement, "column_definition_list"):
        _define(made, column)
    tables.put(name, made)
    return {name} if part(statement, "create_scope") == Modes.CREATE_TEMP else set()


def _define(table: Table, column: Any) -> None:
    table.columns[column.name] = column.type
    annotations = column.annotations
    if annotations.not_null:
        table.required.add(column.name)
    if annotations.type_parameters.HasField("numeric_type_parameters"):
        sizes = annotations.type_parameters.numeric_type_parameters
        table.digits[column.name] = (sizes.precision, sizes.scale)


def _alter(tables: Tables, name: str, action: Any) -> None:
    table = tables.by_name[name]
    if kind(action) == "ResolvedAddColumnAction":
        column = part(action, "column_definition")
        if column.name not in table.columns:
            _define(table, column)
    elif kind(action) == "ResolvedAlterColumnSetDataTypeAction":
        column = part(action, "column")
        table.columns[column] = part(action, "updated_type")
        sizes = part(action, "updated_type_parameters").numeric_type_parameters
        table.digits[column] = (sizes.precision, sizes.scale)
    else:
        raise NotImplementedError(kind(action))
    tables.version += 1


def _name(statement: Any) -> str:
    return ".".join(part(statement, "name_path"))
