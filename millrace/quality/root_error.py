"""The message of Great Expectations' error in; the database's own sentence out."""

import re

LONGEST = 300
DRIVER = re.compile(r"\(\w[\w.]*\.(\w+)\)\s*")  # `(duckdb.duckdb.BinderException) `, as SQLAlchemy writes it
REST = re.compile(r"\[SQL: .*|\(Background on this error .*|Traceback[ :(].*", re.DOTALL)
ABORTED = re.compile(r"transaction is aborted", re.IGNORECASE)  # what follows an error, and never its cause


def root_error(message: str) -> str:
    """Return the first error in a message that is a cause, without SQL and stack."""
    errors = [_tidy(part) for part in message.split("; ") if part.strip()]
    causes = [part for part in errors if part and not ABORTED.search(part)]
    text = next(iter(causes or errors), "") or _tidy(message)
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"


def _tidy(text: str) -> str:
    text = REST.sub("", text)
    start = DRIVER.search(text)
    lines = [line.strip() for line in text[start.end() if start else 0 :].splitlines()]
    meant = [line for line in lines if line and not line.startswith(("LINE ", "^"))]
    return " ".join(meant).strip(" \"'.")
