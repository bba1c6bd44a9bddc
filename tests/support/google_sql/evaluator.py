"""An expression of GoogleSQL in; its value, as Google's own evaluator computes it, out."""

from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as requests
from zetasql.wasi._pb2.zetasql.proto import options_pb2

from tests.support.google_sql.analyser import language
from tests.support.google_sql.service import service


def evaluate(expression: str) -> str:
    """Return the value of an expression that is a text. Raises Refused, with the evaluator's error."""
    options = options_pb2.AnalyzerOptionsProto(language_options=language())
    request = requests.EvaluateRequest(sql=expression, options=options)
    return str(service().call("Evaluate", request, requests.EvaluateResponse).value.string_value)


def json_kept(text: str) -> str:
    """Return a JSON text as BigQuery keeps it, with the mode that refuses numbers which it would change."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return evaluate(f"TO_JSON_STRING(PARSE_JSON('{escaped}', wide_number_mode => 'exact'))")


def json_rounded(text: str) -> str:
    """Return a JSON text as BigQuery keeps it in the mode of the platform's SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return evaluate(f"TO_JSON_STRING(PARSE_JSON('{escaped}', wide_number_mode => 'round'))")
