"""A model as anybody names it → the one name of all its snapshots, aliases and sellers.

For telling whether a call ran on the model it was allowed for: `gpt-4o`, `openai/gpt-4o`,
`gpt-4o-2024-08-06` and an Azure deployment of it are one model, `gpt-4o-mini` is another. Invariant:
two names of one model may be told apart only when the price list knows neither; nothing outside can
raise here. What a model costs is left to `book`.
"""

import re
import threading
from collections.abc import Sequence

from genai_prices.data_snapshot import DataSnapshot, get_snapshot

from collector.pricing.names import BEDROCK, Deployment, Names
from collector.pricing.spellings import price_list_id

# Dates and words that providers append to a model: -2024-08-06, -20250514, -0613, -preview-09-2025, -latest.
_SNAPSHOT = re.compile(r"(?:[-@](?:\d{4}-\d{2}-\d{2}|\d{8}|\d{2}-\d{4}|\d{4}|latest|preview))+$")
_BEDROCK_FORM = re.compile(r"(?:(?:regional|global|us|eu|apac)\.)?[a-z0-9]+\.(.+?)(?:-v\d+(?::\d+)?(?::\d+k)?)?$")


class Families:
    """Families of models; what was found is remembered, up to a bound. Safe to use from several threads."""

    max_cached = 10_000

    def __init__(self, deployments: Sequence[Deployment] = (), snapshot: DataSnapshot | None = None) -> None:
        self._snapshot = snapshot or get_snapshot()
        self._names = Names(deployments, self._snapshot)
        # `Names` belongs to one thread at a time.
        self._lock = threading.Lock()
        self._cache: dict[tuple[str, str], str] = {}

    def of(self, provider: str, model: str) -> str:
        """The family of a model, "" for a call that names none."""
        with self._lock:
            found = self._cache.get((provider, model))
            if found is None:
                if len(self._cache) >= self.max_cached:
                    self._cache.clear()
                found = self._cache[provider, model] = self._of(provider, model) if model else ""
        return found

    def _of(self, provider: str, model: str) -> str:
        seller, name, _ = self._names.resolve(provider.lower(), model)
        name = name.lower()
        if len(name) > Names.longest:
            return name
        if seller == BEDROCK and (match := _BEDROCK_FORM.fullmatch(name)):
            name = match[1]
        for known in (None if seller == BEDROCK else price_list_id(seller) or None, None):
            try:
                _, listed = self._snapshot.find_provider_model(name, None, known, None)
            except LookupError:
                continue
            return _bare(listed.id.rpartition("/")[2])
        return _bare(name)


def _bare(name: str) -> str:
    return _SNAPSHOT.sub("", name) or name
