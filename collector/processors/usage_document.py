"""A usage object in the provider's own shape, as text → token counts by canonical column.

Invariants: any text is answered, never with an error; the counts answered fit each other as the
ledger wants them (input includes cache, output includes reasoning). Where a shape counts parts apart
from the whole, they are added here, once. Which text is such an object is left to the dialects.
"""

import ast
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from collector.pricing.rate import MAX_TOKENS

MAX_TEXT = 16_384
"""Longer texts are not read: the largest usage object seen is a tenth of this."""
_MAX_QUOTED = 3
_MAX_OPENED = 128

# Where each count stands, first present wins. OpenAI's chat and Responses API, LangChain and LangSmith, Anthropic
# and MLflow, Langfuse, Gemini; LiteLLM mixes several of them in one object.
_WHOLES: Mapping[str, tuple[str, ...]] = {
    "input_tokens": ("prompt_tokens", "input_tokens", "promptTokenCount", "input"),
    "output_tokens": ("completion_tokens", "output_tokens", "candidatesTokenCount", "output"),
}
_TOTALS = ("total_tokens", "totalTokenCount", "total")
_DETAILS: Mapping[str, tuple[str, ...]] = {
    "cache_read_tokens": (
        "prompt_tokens_details.cached_tokens",
        "input_tokens_details.cached_tokens",
        "input_token_details.cache_read",
    ),
    "cache_write_tokens": (
        "prompt_tokens_details.cache_write_tokens",
        "prompt_tokens_details.cache_creation_tokens",
        "input_tokens_details.cache_write_tokens",
        "input_token_details.cache_creation",
    ),
    "cache_write_1h_tokens": (
        "cache_creation.ephemeral_1h_input_tokens",
        "cache_creation_input_tokens_above_1hr",
        "prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens",
        "input_token_details.ephemeral_1h_input_tokens",
    ),
    "cache_write_5m_tokens": (
        "cache_creation.ephemeral_5m_input_tokens",
        "prompt_tokens_details.cache_creation_token_details.ephemeral_5m_input_tokens",
        "input_token_details.ephemeral_5m_input_tokens",
    ),
    "input_audio_tokens": ("prompt_tokens_details.audio_tokens", "input_token_details.audio"),
    "reasoning_tokens": (
        "completion_tokens_details.reasoning_tokens",
        "output_tokens_details.reasoning_tokens",
        "output_token_details.reasoning",
    ),
    "output_audio_tokens": ("completion_tokens_details.audio_tokens", "output_token_details.audio"),
}
# Counts beside the whole they may or may not be part of: Anthropic's and Langfuse's are not, MLflow's and Gemini's are
# (but Gemini's thoughts are not).
_BESIDE: Mapping[str, tuple[str, ...]] = {
    "cache_read_tokens": (
        "cache_read_input_tokens",
        "cachedContentTokenCount",
        "input_cached_tokens",
        "input_cache_read",
        "cache_read",
    ),
    "cache_write_tokens": ("cache_creation_input_tokens", "input_cache_creation"),
    "input_audio_tokens": ("input_audio_tokens", "input_audio"),
    "reasoning_tokens": ("thoughtsTokenCount", "output_reasoning_tokens", "output_reasoning", "reasoning"),
    "output_audio_tokens": ("output_audio_tokens", "output_audio"),
}
_ADDED_BESIDE = {
    "input_tokens": {
        "input_tokens": ("cache_read_tokens", "cache_write_tokens"),
        "input": ("cache_read_tokens", "cache_write_tokens", "input_audio_tokens"),
    },
    "output_tokens": {
        "candidatesTokenCount": ("reasoning_tokens",),
        "output": ("reasoning_tokens", "output_audio_tokens"),
    },
}


class UsageDocument(NamedTuple):
    """What an object says: counts by canonical column, and whether some of it could not be read."""

    counts: Mapping[str, int]
    readable: bool


def read_usage(text: str) -> UsageDocument:
    """The counts in JSON, in JSON within a JSON string, or in the text of a Python literal."""
    document = _parsed(text)
    if document is None:
        return UsageDocument({}, readable=True)
    if not isinstance(document, dict):
        return UsageDocument({}, readable=False)
    reader = _Reader(document)
    counts = _counts(reader)
    return UsageDocument(counts, readable=reader.readable)


def _parsed(text: str) -> object:
    """What the text stands for; the text itself if nothing."""
    value: object = text
    for _ in range(_MAX_QUOTED):
        if not isinstance(value, str):
            break
        value, before = _once(value), value
        if value == before:
            break
    return value


def _once(text: str) -> object:
    if len(text) > MAX_TEXT:
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        pass
    # The more is opened the deeper Python's parser may have to go, and at some depth it ends the process.
    if not text.startswith("{") or sum(map(text.count, "([{-+~")) > _MAX_OPENED:
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text


class _Reader:
    """Looks for counts in an object, and notes what could not be read."""

    def __init__(self, document: Mapping[object, object]) -> None:
        self._document = document
        self.readable = True

    def first(self, paths: tuple[str, ...]) -> tuple[str, int | None]:
        """The first of these that is given, and its count; no path and no count if none is."""
        for path in paths:
            found: object = self._document
            for name in path.split("."):
                found = found.get(name) if isinstance(found, Mapping) else None
            if found is not None and not isinstance(found, Mapping):
                count = _count(found)
                self.readable &= count is not None
                return path, count
        return "", None


def _count(value: object) -> int | None:
    """A count of at most `MAX_TOKENS`, from a number or from digits."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) <= len(str(MAX_TOKENS)) else None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_TOKENS:
        return None
    return value


def _counts(reader: _Reader) -> dict[str, int]:
    wholes = {column: reader.first(paths) for column, paths in _WHOLES.items()}
    details = {column: reader.first(paths)[1] for column, paths in _DETAILS.items()}
    beside = {column: reader.first(paths)[1] for column, paths in _BESIDE.items() if details.get(column) is None}
    written = _sum(details.pop("cache_write_5m_tokens"), details["cache_write_1h_tokens"])
    # LangChain sends zero written tokens beside those whose lifetime it knows.
    if written is not None:
        stated = beside if details["cache_write_tokens"] is None else details
        stated["cache_write_tokens"] = max(written, stated["cache_write_tokens"] or 0)
    counts = {column: count for column, count in (details | beside).items() if count is not None}
    counts |= {column: count for column, (_, count) in wholes.items() if count is not None}
    return counts | _added(wholes, beside, reader.first(_TOTALS)[1])


def _added(
    wholes: Mapping[str, tuple[str, int | None]], beside: Mapping[str, int | None], total: int | None
) -> dict[str, int]:
    """The wholes with the parts that stand beside them added, unless the total says they were in."""
    counted = sum(count or 0 for _, count in wholes.values())
    added = {}
    for column, (path, count) in wholes.items():
        parts = _ADDED_BESIDE[column].get(path, ())
        more = sum(beside.get(part) or 0 for part in parts)
        if count is not None and more and total != counted:
            added[column] = count + more
    return added


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None and second is None else (first or 0) + (second or 0)
