"""The JSON body of a model call → an upper bound of its input tokens.

No tokenizer: a well-kept one downloads its vocabulary, differs by model and knows nothing of other
providers. Instead the bound every byte-level tokenizer keeps: a token covers at least one byte. So
the UTF-8 bytes of all text in the body are counted, field names and numbers included, which pays
for the markers providers put around each message. What is no text has a documented constant. The
server's own statistics (basis `p99`) bring the hold down to what such calls really take.
"""

import re
from collections.abc import Mapping

IMAGE_TOKENS = 5_000
"""One image, inline or by reference. Anthropic's largest is 4,784 (2576 px), OpenAI's high detail 1,105 of a
2048 px square, Gemini's 258 a tile."""

FILE_TOKENS = 50_000
"""A file or video by reference, whose size is not in the request."""

BYTES_PER_MEDIA_TOKEN = 20
"""An inline file, sound or video: one token for so many bytes. Speech takes 25 to 32 tokens a second at every
provider, and one second is never less than 1 kB of a compressed file; text in a PDF is denser than both."""

MEDIA_TOKENS_LEAST = 5_000
"""The least for an inline file, because a page of a PDF is an image to some models."""

TOOLS_TOKENS = 1_000
"""Once, when the request has tools: Anthropic adds up to 700 tokens of instructions that are not in the body."""

STORED_CONTEXT_TOKENS = 32_768
"""Once, when the request continues a conversation, cache or prompt that is kept at the provider."""

_STORED = ("previous_response_id", "conversation", "cachedContent", "agent_id")
_INLINE = frozenset(("data", "bytes", "file_data", "url", "image_url"))
_REFERENCES = frozenset(("file_id", "fileUri", "file_uri", "file_url", "image_url", "document_url", "url", "uri"))
_BASE64 = re.compile(r"[A-Za-z0-9+/=_-]+")
_IMAGES = ("image", "input_image")
_FILES = ("input_file", "file", "document", "input_audio", "audio", "video", "application/pdf")


def input_bound(body: Mapping[str, object]) -> int:
    """Tokens the input cannot exceed, by the rules above."""
    tokens = _count("", body, "")
    if body.get("tools") or body.get("toolConfig"):
        tokens += TOOLS_TOKENS
    if any(body.get(name) for name in _STORED) or isinstance(body.get("prompt"), dict):
        tokens += STORED_CONTEXT_TOKENS
    return tokens


def _count(name: str, value: object, medium: str) -> int:
    """Tokens of one value of the field `name`; `medium` is what the object around it says it holds."""
    if isinstance(value, str):
        return _media(name, value, medium) if medium else _bytes(value)
    if isinstance(value, dict):
        inner = medium or _medium(name, value)
        return sum(_bytes(key) + _count(key, item, inner) for key, item in value.items())
    if isinstance(value, list):
        if name in ("input", "prompt") and value and isinstance(value[0], int):
            return len(value)  # Token ids, as embeddings take them: one each.
        return sum(_count(name, item, medium) for item in value)
    return len(str(value))


def _medium(name: str, value: Mapping[str, object]) -> str:
    """`image`, `file` or nothing, by the object's `type` and media type, or the field it stands in."""
    said = [name, *(value.get(key) for key in ("type", "mimeType", "mime_type", "media_type"))]
    words = [word for word in said if isinstance(word, str)]
    if any(word.startswith(_IMAGES) for word in words):
        return "image"
    return "file" if any(word.startswith(_FILES) for word in words) else ""


def _media(name: str, text: str, medium: str) -> int:
    """A field of a medium: its bytes, where they are or whose they are; everything else in it is text."""
    data = text.partition(";base64,")[2] if text.startswith("data:") else text
    inline = name in _INLINE and len(data) > 100 and _BASE64.fullmatch(data)
    if not inline and name not in _REFERENCES:
        return _bytes(text)
    if medium == "image":
        return IMAGE_TOKENS
    return max(MEDIA_TOKENS_LEAST, len(data) * 3 // 4 // BYTES_PER_MEDIA_TOKEN) if inline else FILE_TOKENS


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
