"""dbt's parsed manifests by key: kept in this process and in the lake, so that an unchanged project is parsed once."""

import hashlib
import logging
from dataclasses import dataclass

from millrace.domain import names
from millrace.domain.errors import ObjectMissing
from millrace.lake.store import Lake
from millrace.observability.events import log_event

log = logging.getLogger(__name__)

PREFIX = f"{names.RESULTS}dbt/"
SUFFIX = ".msgpack"
SEAL = hashlib.sha256().digest_size
OLDER = 3
"""Manifests of earlier states of the project that stay in the lake, for runs that began before a change."""
_in_process: dict[str, bytes] = {}


@dataclass(frozen=True)
class KeptManifests:
    """The manifests, as dbt writes them for partial parsing; without a lake they are kept in this process only.

    An object begins with the SHA-256 of its key and its bytes: one that was damaged, changed or renamed is not used.
    A lake that can't be read or written costs a parse, and never fails a run.
    """

    lake: Lake | None

    def read(self, key: str) -> bytes | None:
        """Return the manifest of this key; None when there is none that can be used."""
        return _in_process.get(key) or self._read(key)

    def newest(self) -> bytes | None:
        """Return the newest manifest of any key, from which dbt parses only what changed since."""
        if _in_process:
            return next(reversed(_in_process.values()))
        objects = self._objects()
        return self._read(objects[-1].removeprefix(PREFIX).removesuffix(SUFFIX)) if objects else None

    def write(self, key: str, manifest: bytes) -> None:
        """Keep a manifest in place of all others in this process, and of the oldest ones in the lake."""
        _remember(key, manifest)
        if self.lake is None:
            return
        try:
            self.lake.write(_name(key), _seal(key, manifest) + manifest)
            for name in self._objects()[: -OLDER - 1]:
                self.lake.delete(name)
        except Exception as error:
            log_event(log, logging.WARNING, "model.manifest_not_kept", str(error), key=key)

    def forget(self, key: str) -> None:
        """Drop a manifest that dbt can't read from this process."""
        _in_process.pop(key, None)

    def _objects(self) -> list[str]:
        """Return the names of the objects, oldest first."""
        if self.lake is None:
            return []
        try:
            objects = sorted(self.lake.list(PREFIX), key=lambda info: (info.updated, info.generation))
        except Exception as error:
            log_event(log, logging.WARNING, "model.manifest_not_kept", str(error))
            return []
        return [info.name for info in objects if info.name.endswith(SUFFIX)]

    def _read(self, key: str) -> bytes | None:
        if self.lake is None:
            return None
        try:
            content = self.lake.read(_name(key))
        except ObjectMissing:
            return None
        except Exception as error:
            log_event(log, logging.WARNING, "model.manifest_refused", str(error), key=key)
            return None
        manifest = content[SEAL:]
        if content[:SEAL] != _seal(key, manifest):
            log_event(log, logging.WARNING, "model.manifest_refused", f"{_name(key)} is damaged", key=key)
            return None
        _remember(key, manifest)
        return manifest


def _remember(key: str, manifest: bytes) -> None:
    _in_process.clear()
    _in_process[key] = manifest


def _name(key: str) -> str:
    return f"{PREFIX}{key}{SUFFIX}"


def _seal(key: str, manifest: bytes) -> bytes:
    return hashlib.sha256(key.encode() + manifest).digest()
