"""Model names of a bill and of the ledger in, the name both are compared under out.

Invariant: two different models never become one; only spellings of one model do. A bill that says
`gpt-4o` and a ledger that says `gpt-4o-2024-08-06` mean the same, until a side names both dates.
What a provider calls a model is resolved by `collector.pricing.names`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from collector.pricing.names import Names

_DATED = re.compile(r"(.+?)[-@](\d{4}-?\d{2}-?\d{2}|\d{4}|latest)(?:-v\d+(?::\d+)?)?")
# Anthropic's ids turned round with the fourth generation; its Console writes all of them the new way.
_CLAUDE_VERSION_FIRST = re.compile(r"claude-(\d+(?:-\d+)?)-(opus|sonnet|haiku)")


class _Name(NamedTuple):
    """A model without its date, and the date's digits."""

    undated: str
    date: str


class Aliases:
    """Which names of the ledger and of a bill are one model's."""

    def __init__(self, recorded: Iterable[str], billed: Iterable[str]) -> None:
        """Look at all names of both sides at once: whether a date matters depends on the others."""
        in_ledger = set(recorded)
        names = {name: _name(name) for name in (*in_ledger, *billed)}
        self._undated = {name.undated for name in names.values() if not name.date}
        self._names = names
        shown: dict[_Name, list[str]] = {}
        for text in names:
            shown.setdefault(self._key(text), []).append(text)
        self._shown = {key: self._spelling(texts, in_ledger) for key, texts in shown.items()}

    def of(self, text: str | None) -> str | None:
        """The name a model is compared under; `None` stays unknown."""
        return None if text is None else self._shown[self._key(text)]

    def _spelling(self, texts: list[str], in_ledger: set[str]) -> str:
        """The ledger's, which the other reports show; of several models' dates none."""
        ours = [text for text in texts if text in in_ledger]
        return ours[0] if len(ours) == 1 else min(texts, key=lambda text: (self._names[text].date, text))

    def _key(self, text: str) -> _Name:
        name = self._names[text]
        return _Name(name.undated, "") if name.undated in self._undated else name


@lru_cache(maxsize=10_000)
def _name(text: str) -> _Name:
    folded = re.sub(r"[ .]+", "-", _names().resolve("", text).model.strip().lower())
    match = _DATED.fullmatch(folded)
    undated, date = (match[1], match[2].replace("-", "")) if match else (folded, "")
    undated = _CLAUDE_VERSION_FIRST.sub(r"claude-\2-\1", undated)
    return _Name(undated, "" if date == "latest" else date)


@lru_cache(maxsize=1)
def _names() -> Names:
    return Names()
