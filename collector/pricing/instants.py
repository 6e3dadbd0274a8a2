"""A time as a person writes it ↔ Unix nanoseconds, exactly; a price may change within a second.

RFC 3339 with up to nine decimals (https://www.rfc-editor.org/rfc/rfc3339) or a bare date, which is
its midnight in UTC.
"""

import re
from datetime import UTC, datetime

from schemas.errors import ConfigError

_INSTANT = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})(?:[Tt ](?P<clock>\d{2}:\d{2}:\d{2})(?:\.(?P<parts>\d{1,9}))?"
    r"(?P<zone>[Zz]|[+-]\d{2}:\d{2}))?"
)
_NS = 1_000_000_000


def parse_instant(text: str) -> int:
    """Unix ns of `2026-11-01` or `2026-11-01T12:00:00.000000001Z`; raises `ConfigError`."""
    match = _INSTANT.fullmatch(text.strip())
    fix = "Write 2026-11-01 (midnight UTC) or 2026-11-01T12:00:00Z."
    if match is None:
        raise ConfigError(f"{text!r} is not a time.", fix=fix)
    zone = "+00:00" if (match["zone"] or "Z") in "Zz" else match["zone"]
    try:
        moment = datetime.fromisoformat(f"{match['date']}T{match['clock'] or '00:00:00'}{zone}")
    except ValueError:
        raise ConfigError(f"{text!r} is not a time that exists.", fix=fix) from None
    seconds = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (seconds.days * 86_400 + seconds.seconds) * _NS + int((match["parts"] or "0").ljust(9, "0"))


def format_instant(ns: int) -> str:
    """RFC 3339 in UTC, with as many decimals as are needed."""
    seconds, parts = divmod(ns, _NS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{parts:09d}".rstrip("0") if parts else "") + "Z"
