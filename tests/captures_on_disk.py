"""Recorded OTLP requests, as tests read them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

CAPTURES = Path(__file__).parent / "captures"


class Recorded(NamedTuple):
    """One request as a real exporter sent it."""

    signal: str
    transport: str
    body: bytes
    as_json: bool


def emitters() -> list[str]:
    """Every capture folder."""
    return sorted(folder.name for folder in CAPTURES.iterdir() if folder.is_dir())


def requests(emitter: str) -> Iterator[Recorded]:
    """The requests of one emitter in arrival order."""
    for path in sorted((CAPTURES / emitter).glob("[0-9]*")):
        _, signal, transport, kind, *compressed = path.name.split(".")
        if not compressed:
            yield Recorded(signal, transport, path.read_bytes(), kind == "json")


def truth(emitter: str) -> dict[str, Any]:
    """What the provider billed."""
    document: dict[str, Any] = json.loads((CAPTURES / emitter / "truth.json").read_bytes())
    return document
