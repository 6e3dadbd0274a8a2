"""A model's name → the ids it goes by, so that two names can be told to be one model.

A kill of a model must not let an alias, a dated id, a provider's prefix or a cloud's spelling slip
through. Two names are one model when their sets of ids meet: the name without what only says where
or when, and the id its maker's price list has for it. Names the list bills as one are one here. What
stays apart is what no list can know: an opaque deployment nobody declared.
"""

import re
from fnmatch import fnmatchcase

from collector.pricing.book import PriceBook

_MAX_CACHED = 10_000
_PLACE = re.compile(r"(?:global|regional|us-gov|us|eu|apac|jp|au|ca|in)\.")
_VENDOR = re.compile(
    r"(?:ai21|amazon|anthropic|cohere|deepseek|google|luma|meta|minimax|mistral|moonshot|moonshotai|nvidia|openai|qwen"
    r"|stability|twelvelabs|writer|zai)\."
)
_BEDROCK_VERSION = re.compile(r"-v\d+(?::\d+)?(?::\d+k)?$")
_VERSION = re.compile(r"[@-](?:\d{8}|\d{4}-\d{2}-\d{2}|latest|default)$")

Identities = frozenset[str]


class Models:
    """Which names are one model. Remembers what it worked out, up to a bound. Owned by one thread."""

    def __init__(self, book: PriceBook) -> None:
        self._names = book.names
        self._overlay = tuple(each.row.model.lower() for each in book.settings.rows)
        self._cache: dict[tuple[str, str], Identities] = {}

    def identities(self, provider: str, model: str) -> Identities:
        """The ids of a model as a call names it; empty when it names none."""
        key = (provider, model)
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            found = self._cache[key] = self._identities(provider, model)
        return found

    def listed(self, model: str) -> bool:
        """Whether the price list, its overlay or the declared inventory knows a model of this name."""
        resolved = self._names.resolve("", model).model
        spelled = {model.strip().lower(), resolved.lower(), _last(resolved), _bare(resolved)}
        return any(self._names.known(name) or self._overlaid(name) for name in spelled)

    def _overlaid(self, name: str) -> bool:
        # A row for every model says of none that it exists.
        return any(pattern.strip("*?") and fnmatchcase(name, pattern) for pattern in self._overlay)

    def _identities(self, provider: str, model: str) -> Identities:
        if not model.strip():
            return frozenset()
        resolved = self._names.resolve(provider, model).model
        bare = _bare(resolved)
        makers = (self._names.maker_id(name) for name in (_last(resolved), bare))
        return frozenset({bare, *(_bare(made) for made in makers if made)})


def _last(model: str) -> str:
    return model.strip().lower().rpartition("/")[2]


def _bare(model: str) -> str:
    """The name without reseller, place, vendor and version."""
    name = _VENDOR.sub("", _PLACE.sub("", _last(model), count=1), count=1)
    return _VERSION.sub("", _BEDROCK_VERSION.sub("", name))
