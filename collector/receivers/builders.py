"""A word from the configuration → what makes the tables of commit groups.

Invariant: decoding never waits for the compiler. Numba takes two seconds to import and, the first
time on a machine, seven to compile; until then, and wherever it does not work, the reference decodes.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Literal, Protocol

import pyarrow as pa

from collector.receivers.decode import Outcome, RowLimits, TableBuilder
from schemas.errors import ConfigError

Kind = Literal["auto", "compiled", "reference"]

# Imported by name, when it is wanted: the import is the compilation.
_COMPILED = "collector.receivers.decode_compiled"

_log = logging.getLogger(__name__)


class Builder(Protocol):
    """What `decode.TableBuilder` does."""

    def add_traces(self, request: int, body: bytes) -> Outcome:
        """Read one ExportTraceServiceRequest; raises `Permanent` and adds nothing if it does not parse."""

    def add_logs(self, request: int, body: bytes) -> Outcome:
        """Read one ExportLogsServiceRequest; raises `Permanent` and adds nothing if it does not parse."""

    def table(self) -> pa.Table:
        """All rows so far."""


# The wanted keys and the types of their values, the limits, and Unix ns now.
Build = Callable[[Mapping[str, type], RowLimits, int], Builder]


def builder_factory(kind: Kind) -> Build:
    """Makes builders of this kind; `compiled` raises `ConfigError` where Numba does not work.

    `auto` is the reference at first, and the compiled decoder as soon as a thread has made it ready.
    """
    if kind == "reference":
        return TableBuilder
    return _compiled() if kind == "compiled" else _Changeover()


class _Changeover:
    """Makes reference builders until compiled ones can be had, which the first call sets about."""

    def __init__(self) -> None:
        self._build: Build = TableBuilder  # Replaced once, by the thread.
        self.thread = threading.Thread(target=self._prepare, name="compile-decoder", daemon=True)
        self._started = False

    def __call__(self, wanted: Mapping[str, type], limits: RowLimits, now_ns: int) -> Builder:
        if not self._started:
            self._started = True
            self.thread.start()
        return self._build(wanted, limits, now_ns)

    def _prepare(self) -> None:
        try:
            self._build = _compiled()
        except ConfigError as error:
            _log.warning("Requests are decoded by the reference, at a tenth of the speed. %s", error.diagnostics())


def _compiled() -> Build:
    try:
        module = import_module(_COMPILED)
        agrees = module.warm_up()
    except Exception as error:
        raise ConfigError(
            f"The compiled decoder cannot be used here: {error!r}.",
            fix="Install numba as pyproject.toml asks for it, or set receivers.otlp.decoder to reference.",
        ) from error
    if not agrees:
        raise ConfigError(
            "The compiled decoder reads a specimen otherwise than the reference does.",
            fix="Set receivers.otlp.decoder to reference and report the versions of numba and llvmlite.",
        )
    build: Build = module.CompiledTableBuilder
    return build
