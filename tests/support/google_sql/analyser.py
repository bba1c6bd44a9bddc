"""SQL in; what GoogleSQL's analyser says of it, statement by statement, against tables that earlier SQL made, out.

A script is parsed by GoogleSQL too. Of its own statements (DECLARE, SET, IF, RAISE), which the analyser does not take,
the expressions are analysed, with the types that they must have.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from google.protobuf.empty_pb2 import Empty
from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as requests
from zetasql.wasi._pb2.zetasql.proto import options_pb2, simple_catalog_pb2
from zetasql.wasi._pb2.zetasql.public import options_pb2 as features
from zetasql.wasi._pb2.zetasql.public import type_pb2

from tests.support.google_sql.rules import check_in_transaction, check_insert, check_table, check_text
from tests.support.google_sql.service import Refused, service
from tests.support.google_sql.tables import Columns, Tables, change, inserts
from tests.support.google_sql.trees import field, kind, special, text

BIGQUERYS = (  # of the features that are not ideal, those that BigQuery has
    features.FEATURE_ALTER_COLUMN_SET_DATA_TYPE,
    features.FEATURE_CLONE_DATA,
    features.FEATURE_CREATE_TABLE_CLONE,
)
Kind = type_pb2.TypeProto
INT64, BOOL, STRING = (Kind(type_kind=getattr(type_pb2, f"TYPE_{name}")) for name in ("INT64", "BOOL", "STRING"))


@cache
def language() -> Any:
    """Return the language as BigQuery has it: types by their names outside of Google, and every statement."""
    options = service().call(
        "GetLanguageOptions",
        requests.LanguageOptionsRequest(maximum_features=True),
        options_pb2.LanguageOptionsProto,
    )
    options.product_mode = features.PRODUCT_EXTERNAL
    options.enabled_language_features.extend(BIGQUERYS)
    del options.supported_statement_kinds[:]
    return options


class Analyser:
    """Tables that grow with the DDL that is analysed; `statements` are all texts that were analysed.

    `names` are those of the columns of the last query.
    """

    def __init__(self) -> None:
        self.tables = Tables()
        self.statements: list[str] = []
        self.names: list[str] = []
        self.default_dataset = ""
        self._temporary: set[str] = set()
        self._registered: tuple[object, int] = (None, 0)
        self._variables: dict[str, Any] = {}
        self._in_transaction = False

    def run(self, sql: str, parameters: Mapping[str, Any]) -> Columns:
        """Analyse a statement or script; return the columns of its last query. Raises Refused."""
        check_text(sql, len(parameters))
        source = sql.encode()
        request = requests.ParseRequest(sql_statement=sql, options=language(), allow_script=True)
        script = service().call("Parse", request, requests.ParseResponse).parsed_script
        self._variables, self._in_transaction, self.names = {}, False, []
        columns = self._run_list(script.statement_list_node.statement_list, source, parameters)
        for name in self._temporary:
            self.tables.drop(name)
        self._temporary.clear()
        return columns

    def _run_list(self, nodes: Sequence[Any], source: bytes, parameters: Mapping[str, Any]) -> Columns:
        columns: Columns = {}
        for node in nodes:
            columns = self._run_one(node, source, parameters) or columns
        return columns

    def _run_one(self, node: Any, source: bytes, parameters: Mapping[str, Any]) -> Columns:
        part = special(node)
        match kind(node):
            case "ASTVariableDeclaration":
                declared = Kind(type_kind=type_pb2.TypeKind.Value(f"TYPE_{text(part.type, source).upper()}"))
                self._expect(text(part.default_value, source), declared, parameters)
                names = [identifier.id_string for identifier in part.variable_list.identifier_list]
                self._variables |= dict.fromkeys(names, declared)
            case "ASTSingleAssignment":
                wanted = self._variables[part.variable.id_string]
                self._expect(text(part.expression, source), wanted, parameters)
            case "ASTIfStatement":
                self._expect(text(part.condition, source), BOOL, parameters)
                self._run_list(part.then_list.statement_list, source, parameters)
                self._run_list(part.else_list.statement_list, source, parameters)
            case "ASTRaiseStatement":
                self._expect(text(part.message, source), STRING, parameters)
            case _:
                return self._analyse(text(node, source), parameters)
        return {}

    def _expect(self, expression: str, wanted: Any, parameters: Mapping[str, Any]) -> None:
        """Analyse an expression of a script. Raises Refused if it has another type."""
        (found,) = self._analyse(f"SELECT {expression}", parameters).values()
        if found != wanted:
            raise Refused(f"{expression} has the type {found}, and {wanted} is needed")

    def _analyse(self, sql: str, parameters: Mapping[str, Any]) -> Columns:
        self.statements.append(sql)
        options = options_pb2.AnalyzerOptionsProto(language_options=language())
        options.system_variables.add(name_path=["row_count"], type=INT64)
        for name, declared in parameters.items():
            options.query_parameters.add(name=name, type=declared)
        catalogue = self._catalogue(by_path="`.`" in sql)
        request = requests.AnalyzeRequest(options=options, registered_catalog_id=catalogue, sql_statement=sql)
        try:
            statement = service().call("Analyze", request, requests.AnalyzeResponse).resolved_statement
        except Refused as refused:
            raise Refused(f"{refused}\nin {sql}") from None
        self._judge(statement)
        listed = field(statement, "output_column_list") if kind(statement) == "ResolvedQueryStmt" else []
        self.names = [str(output.name) for output in listed] or self.names
        return {f"{number}": output.column.type for number, output in enumerate(listed)}

    def _judge(self, statement: Any) -> None:
        """Apply a resolved statement, and the rules that the analyser does not know. Raises Refused."""
        before, name = set(self.tables.by_name), kind(statement)
        temporary = change(self.tables, statement)
        self._temporary |= temporary
        for made in set(self.tables.by_name) - before:
            check_table(made, self.tables.by_name[made].columns)
        for table, columns in inserts(statement):
            check_insert(table, self.tables.by_name[table].required, columns)
        if self._in_transaction:
            check_in_transaction(name, temporary=bool(temporary))
        if name in ("ResolvedBeginStmt", "ResolvedCommitStmt", "ResolvedRollbackStmt"):
            self._in_transaction = name == "ResolvedBeginStmt"

    def _catalogue(self, *, by_path: bool) -> int:
        """Return the id of a catalogue of the tables and variables as they are now."""
        state = (self.tables.version, tuple(self._variables), by_path, self.default_dataset)
        if self._registered[0] == state:
            return self._registered[1]
        catalogue = simple_catalog_pb2.SimpleCatalogProto(name="project")
        catalogue.builtin_function_options.language_options.CopyFrom(language())
        self.tables.write(catalogue, by_path=by_path, default=self.default_dataset)
        for name, declared in self._variables.items():
            constant = catalogue.constant.add(name_path=[name], type=declared)
            constant.value.int64_value = 0
        request = requests.RegisterCatalogRequest(simple_catalog=catalogue)
        if self._registered[0] is not None:
            service().call("UnregisterCatalog", requests.UnregisterRequest(registered_id=self._registered[1]), Empty)
        registered = service().call("RegisterCatalog", request, requests.RegisterResponse).registered_id
        self._registered = (state, registered)
        return registered
