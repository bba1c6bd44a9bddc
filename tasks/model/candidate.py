"""One candidate: work and streams with broken rows in; what dbt built of it, and the parts that are refused, out."""

import json
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from millrace.contracts.stream import StreamContract
from millrace.domain.model import BuiltCandidate, ModelWork
from millrace.domain.parts import Part, parts_of, refuse_parts
from millrace.warehouse.port import Warehouse
from tasks.model.dbt import AS_OF, CANDIDATE, build_arguments, build_failures, built_marts, rebuild_arguments

Invoke = Callable[[list[str], Mapping[str, str], Path], None]


@dataclass(frozen=True)
class Builder:
    """What builds a candidate: the warehouse as of an instant, the streams with contracts, and dbt.

    `absent` are streams without a table, whose models are not built.
    """

    warehouse: Warehouse
    streams: Mapping[str, StreamContract]
    absent: Collection[str]
    as_of: datetime | None
    invoke: Invoke

    def build(self, built: BuiltCandidate, broken: Mapping[str, str]) -> BuiltCandidate:
        """Build the marts that the work affects, but for parts with a stream in `broken`, which has the reasons.

        A part that dbt can't build is refused as well, and the others go on.

        Raises:
            ValueError: dbt could not build any part; with dbt's message.
        """
        with tempfile.TemporaryDirectory() as folder:
            if broken or built.work.owed:
                built = self._refuse_broken(built, broken, Path(folder) / "parse")
            if built.is_empty:
                return built
            if not built.work.whole and not self.warehouse.marts():
                built = built.model_copy(update={"work": built.work.model_copy(update={"whole": True})})
            targets, errors, commands = list[Path](), list[Exception](), self._commands(built)
            self._begin(built)
            for number, arguments in enumerate(commands):
                targets.append(Path(folder) / str(number))
                try:
                    self._run(built.candidate, arguments, targets[-1])
                except Exception as error:
                    if not build_failures(targets[-1]):
                        raise
                    errors.append(error)
            return _after_build(built, targets, errors)

    def _refuse_broken(self, built: BuiltCandidate, broken: Mapping[str, str], target: Path) -> BuiltCandidate:
        self._run(built.candidate, ["parse"], target)
        parts = _parts(target)
        reasons = {
            part.name: "; ".join(broken[stream] for stream in part.streams if stream in broken)
            for part in parts
            if set(part.streams) & set(broken)
        }
        return built.model_copy(update={"parts": parts}).refuse(refuse_parts(parts, reasons, by_gate=True))

    def _begin(self, built: BuiltCandidate) -> None:
        """Begin the candidate: empty when all is rebuilt, else with the published marts of what is not."""
        owed, whole = _owed(built), built.work.whole
        self.warehouse.begin_candidate(built.candidate, empty=whole or bool(owed))
        if owed and not whole:
            self.warehouse.restore(built.candidate, [t for p in built.parts if p not in owed for t in p.tables])

    def _commands(self, built: BuiltCandidate) -> list[list[str]]:
        """Return dbt's commands; none when nothing changed that a model reads."""
        if built.work.whole:
            refused = {stream for each in built.refused for stream in each.part.streams}
            return [build_arguments(True, {}, {*self.absent, *refused})]
        owed = _owed(built)
        rebuilt = {stream for part in owed for stream in part.streams}
        changed = {stream: days for stream, days in self._changed(built.work).items() if stream not in rebuilt}
        commands = [rebuild_arguments([s for part in owed for s in part.selectors], self.absent)] if owed else []
        return [*commands, build_arguments(False, changed, self.absent)] if changed else commands

    def _changed(self, work: ModelWork) -> dict[str, list[str] | None]:
        """Return the days of changed rows by stream, without streams that have no contract: no model reads them."""
        declared = [stream for stream in work.streams if stream in self.streams]
        return {stream: self.warehouse.touched_days(self.streams[stream], work.batches) for stream in declared}

    def _run(self, candidate: str, arguments: list[str], target: Path) -> None:
        target.mkdir(parents=True)
        own = {CANDIDATE: candidate, AS_OF: self.as_of.isoformat() if self.as_of else ""}
        self.invoke(arguments, self.warehouse.dbt_environment(candidate) | own, target)


def _owed(built: BuiltCandidate) -> list[Part]:
    refused = {each.part.name for each in built.refused}
    return [part for part in built.parts if part.name in built.work.owed and part.name not in refused]


def _parts(target: Path) -> tuple[Part, ...]:
    return parts_of(json.loads((target / "manifest.json").read_text()))


def _after_build(built: BuiltCandidate, targets: list[Path], errors: list[Exception]) -> BuiltCandidate:
    """Return the candidate with what dbt built, without the parts of which it could not build something."""
    marts = sorted({mart for target in targets for mart in built_marts(target)})
    parts = _parts(targets[0]) if targets else built.parts
    built = built.model_copy(update={"marts": tuple(marts), "parts": parts}).refuse(())
    failures = {node: message for target in targets for node, message in build_failures(target).items()}
    owner = {node: part.name for part in parts for node in part.nodes}
    reasons: dict[str, str] = {}
    for node, message in sorted(failures.items()):
        part = owner.get(node, "")
        reasons[part] = f"{reasons[part]}; {message}" if part in reasons else message
    if "" in reasons:
        raise errors[0]
    built = built.refuse(refuse_parts(parts, reasons, by_gate=False))
    if errors and built.is_empty:
        raise errors[0]
    return built
