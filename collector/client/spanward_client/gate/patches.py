"""Methods of other people's classes, replaced and given back."""

from collections.abc import Callable
from typing import Any


class Patches:
    """What was replaced. Giving back leaves alone what somebody else has replaced since."""

    def __init__(self) -> None:
        self._made: list[tuple[type, str, Any, Any]] = []

    def replace(self, owner: type, name: str, wrap: Callable[[Any], Any]) -> None:
        """Put `wrap(original)` in the original's place."""
        original = getattr(owner, name)
        ours = wrap(original)
        self._made.append((owner, name, original, ours))
        setattr(owner, name, ours)

    def give_back(self) -> None:
        """Undo everything, newest first."""
        while self._made:
            owner, name, original, ours = self._made.pop()
            if getattr(owner, name) is ours:
                setattr(owner, name, original)
