"""A directory store whose puts fail on demand: before they had an effect, or after they had it in full."""

from collections.abc import Callable
from enum import Enum
from pathlib import Path

from collector.ledger import layout
from collector.stores.directory import DirectoryStore
from schemas.errors import Retryable


class Effect(Enum):
    """What a failed put did: Sunlight's two columns."""

    NONE = "not persisted"
    WHOLE = "persisted, but reported failed"


class FailingStore(DirectoryStore):
    """`plan` is asked before each put, with the key; it names the effect of a failure, or None for success."""

    def __init__(self, root: Path, plan: Callable[[str], Effect | None]) -> None:
        super().__init__(root)
        self._plan = plan

    def put_new(self, key: str, data: bytes, retain_until_ns: int) -> None:
        """Put, or fail as planned."""
        effect = self._plan(key)
        if effect is not Effect.NONE:
            super().put_new(key, data, retain_until_ns)
        if effect is not None:
            raise Retryable(f"Putting {key} failed: {effect.value}.")


def kind_of(key: str) -> str:
    """schema, events, entry or checkpoint: which of the puts of a segment this is."""
    kind, *rest = key.removeprefix(f"{layout.PREFIX}/").split("/")
    return rest[-2] if kind == "log" else kind
