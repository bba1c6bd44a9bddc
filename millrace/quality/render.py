"""Results of the gate in, documents of them out, from which another process renders the pages of Data Docs.

Great Expectations is imported on use, as its import takes seconds.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from millrace.quality.docs import tidy


def results_document(context: Any) -> bytes:
    """Return the suites and the results of a context as one JSON document."""
    store = context.validation_results_store
    results = [
        {"key": key.to_tuple(), "result": json.loads(store.serialize(store.get(key)))} for key in store.list_keys()
    ]
    suites = [suite.to_json_dict() for suite in context.suites.all()]
    return json.dumps({"suites": suites, "results": results}).encode()


def render(documents: Iterable[bytes], docs: Path) -> None:
    """Render the pages of documents into a folder, without an index; nothing without documents.

    Of several results of one suite those of the last document are rendered.
    """
    suites, results = dict[str, Any](), dict[str, Any]()
    for document in map(json.loads, documents):
        suites |= {suite["name"]: suite for suite in document["suites"]}
        results |= {entry["key"][0]: entry for entry in document["results"]}
    if not results:
        return
    from great_expectations.core import ExpectationSuite
    from great_expectations.data_context.types.resource_identifiers import ValidationResultIdentifier

    from millrace.quality.engine import new_context

    context = new_context(docs)
    store = context.validation_results_store
    for suite in suites.values():
        context.suites.add(ExpectationSuite(**suite))
    for entry in results.values():
        key = ValidationResultIdentifier.from_tuple(tuple(entry["key"]))
        store.set(key, store.deserialize(entry["result"]))
    context.build_data_docs()
    tidy(docs)
    (docs / "index.html").unlink()
