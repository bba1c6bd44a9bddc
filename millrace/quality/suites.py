"""Suites of expectations as plain data: one YAML file per mart, and one per stream, which contracts make."""

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
            raise ValueError("severity quarantine is for streams: a mart without some of its rows would be wrong")
        return self

    @property
    def name(self) -> str:
        """The table, as people name it."""
        return self.mart or self.stream


def load_suites(directory: Path) -> list[Suite]:
    """All suites of a directory.

    Raises:
        ContractError: a file is wrong, or there is none; the message names it.
    """
    suites = []
    for path in sorted(directory.glob("*.yaml")):
        try:
            suite = Suite.model_validate(yaml.safe_load(path.read_text()))
        except (ValidationError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ContractError(f"{path}: {error}") from None
        if suite.name != path.stem:
            raise ContractError(f"{path.name}: is for {suite.name!r}; name the file {suite.name}.yaml")
        suites.append(suite)
    if not suites:
        raise ContractError(f"no suites in {directory}; a gate without expectations would let everything pass")
    return suites
