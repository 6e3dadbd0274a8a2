"""A completion as text → the provider's id of it, which is all of it that is kept.

Some emitters write the id nowhere else. Invariant: what is returned is an id and no prose, so that no
prompt and no output gets past the door; content without one is nothing to remark on.
"""

import re

import msgspec

SUFFIX = "#id"
"""Behind an attribute's key: the column is the id in its value, not the value."""

# Providers' ids are a third as long; a space would make it prose.
_ID = re.compile(r"[!-~]{1,200}", re.ASCII)
# The start of an object that was cut, also of one within a JSON string.
_START = re.compile(r'\s*"?\{\s*\\?"id\\?"\s*:\s*\\?"([!#-\[\]-~]{1,200})\\?"', re.ASCII)


class _Completion(msgspec.Struct):
    id: str | None = None


def content_key(column: str) -> str:
    """The attribute a wanted column is read from."""
    return column.removesuffix(SUFFIX)


def content_id(text: str) -> str | None:
    """The text at `id` of a JSON object, of one within a JSON string, or of the start of either."""
    try:
        if text.lstrip(" \t\r\n")[:1] == '"':
            text = msgspec.json.decode(text, type=str)
        found = msgspec.json.decode(text, type=_Completion).id
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        start = _START.match(text)
        found = start[1] if start else None
    return found if found is not None and _ID.fullmatch(found) else None
