"""Query parameters of the official client in; their types for the analyser out."""

from typing import Any

from google.cloud import bigquery
from zetasql.wasi._pb2.zetasql.public import type_pb2

from tests.support.google_sql.tables import simple


def types_of(parameters: list[Any]) -> dict[str, Any]:
    """Return the type of each named parameter, as the client sends it."""
    return {str(p.name): _type(p.to_api_repr()["parameterType"]) for p in parameters}


def rest_types(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the type of each named parameter of a request."""
    return {str(p["name"]): _type(p["parameterType"]) for p in parameters}


def column_type(field: bigquery.SchemaField) -> Any:
    """Return the type of a column of a load job."""
    return simple(field.field_type)


def _type(sent: dict[str, Any]) -> Any:
    if sent["type"] == "ARRAY":
        items = _type(sent["arrayType"])
        return type_pb2.TypeProto(type_kind=type_pb2.TYPE_ARRAY, array_type=type_pb2.ArrayTypeProto(element_type=items))
    if sent["type"] == "STRUCT":
        made = type_pb2.TypeProto(type_kind=type_pb2.TYPE_STRUCT)
        made.struct_type.SetInParent()
        for item in sent["structTypes"]:
            made.struct_type.field.add(field_name=item["name"], field_type=_type(item["type"]))
        return made
    return simple(sent["type"])
