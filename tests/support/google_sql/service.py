"""GoogleSQL's local service in this process: a method and its request in, its answer or its error out.

The package `zetasql` has it as WebAssembly. It is compiled on first use, which takes tens of seconds, and kept in
wasmtime's cache, from which it takes one.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import tzdata
from google.protobuf.message import Message
from wasmtime import Config, Engine, Linker, Module, Store, WasiConfig
from zetasql.wasi import get_wasm_path

Answer = TypeVar("Answer", bound=Message)
SIZE_BYTES = 4


class Refused(Exception):
    """GoogleSQL rejected a text, with its own message."""


class Service:
    """One instance of the service, which keeps what is registered."""

    def __init__(self) -> None:
        config = Config()
        config.cache = True
        config.shared_memory = True
        engine = Engine(config)
        self._store = Store(engine)
        files = WasiConfig()
        files.preopen_dir(str(Path(tzdata.__file__).parent / "zoneinfo"), "/usr/share/zoneinfo")
        self._store.set_wasi(files)
        linker = Linker(engine)
        linker.define_wasi()
        instance = linker.instantiate(self._store, Module.from_file(engine, str(get_wasm_path())))
        self._exports: Any = instance.exports(self._store)
        self._exports["_initialize"](self._store)

    def call(self, method: str, request: Message, answer: type[Answer]) -> Answer:
        """Call a method of the service. Raises Refused."""
        data = request.SerializeToString()
        place, size_at = self._allocate(max(len(data), 1)), self._allocate(SIZE_BYTES)
        try:
            ctypes.memmove(self._address(place), data, len(data))
            at = self._exports[f"ZetaSqlLocalService_{method}"](self._store, place, len(data), size_at)
            if not at:
                raise Refused(self._error())
            result = self._read(at, int.from_bytes(self._read(size_at, SIZE_BYTES), "little"))
            self._exports["wasm_free"](self._store, at)
        finally:
            for allocated in (place, size_at):
                self._exports["wasm_free"](self._store, allocated)
        return answer.FromString(result)

    def _allocate(self, size: int) -> int:
        return int(self._exports["wasm_malloc"](self._store, size))

    def _address(self, place: int) -> int:
        start = ctypes.addressof(self._exports["memory"].data_ptr().contents)
        return start + place

    def _read(self, place: int, size: int) -> bytes:
        return ctypes.string_at(self._address(place), size)

    def _error(self) -> str:
        size = self._exports["wasm_get_last_error_size"](self._store)
        return self._read(self._exports["wasm_get_last_error"](self._store), size).decode()


@cache
def service() -> Service:
    """Return the service of this process."""
    return Service()
