"""Suites of expectations: a directory with one YAML file per mart or stream in, validated suites out."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError, model_validator

from millrace.domain.errors import ContractError
from millrace.domain.quality import QUARANTINE, Expected
from millrace.domain.types import Frozen


class Suite(Frozen):
    """The expectations of one table: a mart, or a stream (`<source>.<stream>`)."""

    mart: str = ""
    stream: str = ""
    expectations: Annotated[tuple[Expected, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _of_one_table(self) -> "Suite":
        if bool(self.mart) == bool(self.stream):
            raise ValueError("give either `mart` or `stream`")
        if self.mart and any(e.severity == QUARANTINE for e in self.expectations):
            raise ValueError("severity quarantine is for streams: a mart would be wrong without some of its rows")
        return self

    @property
    def name(self) -> str:
        """Return the name of the mart, or of the stream."""
        return self.mart or self.stream


def load_suites(directory: Path) -> list[Suite]:
    """Return all suites of a directory.

    Raises:
        ContractError: a file is invalid, which the message names, or the directory has none.
    """
    suites = []
    for path in sorted(directory.glob("*.yaml")):
        try:
            suite = Suite.model_validate(yaml.safe_load(path.read_text()))
        except (ValidationError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ContractError(f"{path}: {error}") from None
        if suite.name != path.stem:
            raise ContractError(f"{path.name} has the suite of {suite.name!r}; name the file {suite.name}.yaml")
        suites.append(suite)
    if not suites:
        raise ContractError(
            f"no suites in {directory}; a gate without expectations would pass everything. Write one for a mart:"
            " MART.yaml with `mart: MART` and `expectations:` (docs/model.md)"
        )
    return suites
