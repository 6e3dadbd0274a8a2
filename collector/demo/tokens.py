"""Chat messages → the number of tokens they cost.

Invariant: the agents and the provider of the demo count alike, so a hold asked with this count is
an upper bound of what the provider bills. Real agents use their provider's tokenizer here.

Documents are referred to by id, as with the provider's file API, so that a context of 300,000
tokens costs a believable amount without being sent anywhere.
"""

import json
from collections.abc import Iterable, Mapping

CHARACTERS_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4

DOCUMENT_TOKENS: Mapping[str, int] = {
    "file-ci-history": 150_000,
    "file-ci-failure": 3_000,
    "file-handbook": 24_000,
    "file-report-1": 22_000,
    "file-report-2": 31_000,
    "file-report-3": 37_000,
}
"""What the provider's tokenizer makes of each uploaded document."""


def count_tokens(messages: Iterable[Mapping[str, object]]) -> int:
    """Tokens of a whole conversation; raises `KeyError` for a document nobody uploaded."""
    return sum(message_tokens(message) for message in messages)


def message_tokens(message: Mapping[str, object]) -> int:
    """Tokens of one message: its text, its documents and the calls it asks for."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content or ""}]
    calls = message.get("tool_calls")
    asked = _text_tokens(json.dumps(calls, sort_keys=True)) if calls else 0
    return TOKENS_PER_MESSAGE + asked + sum(_part_tokens(part) for part in parts)


def _part_tokens(part: Mapping[str, object]) -> int:
    attached = part.get("file")
    if isinstance(attached, dict):
        return DOCUMENT_TOKENS[str(attached.get("file_id"))]
    return _text_tokens(str(part.get("text", "")))


def _text_tokens(words: str) -> int:
    return -(-len(words) // CHARACTERS_PER_TOKEN)
