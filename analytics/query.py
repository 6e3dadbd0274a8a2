"""Words of a command line in, one `Query` out.

Invariant: whatever a person can mistype is refused here with the nearest word that exists, before
the ledger is opened. Imports no data frame library, so `spanward report --help` is quick. Which
columns and filters a report has is left to `analytics.report`.
"""

import difflib
import re
import zoneinfo
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from schemas.errors import ConfigError, Permanent
from schemas.ids import AgentPath
from schemas.quantities import Duration

MAX_NS = 2**63 - 1
EXAMPLES = "2026-11-24, 2026-11-24T06:30:00Z, 24h or 7d"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?P<clock>\d{2}:\d{2}(?::\d{2})?)(?:\.(?P<fraction>\d{1,9}))?(?P<offset>[Zz]|[+-]\d{2}:\d{2})?)?"
)


class Filter(msgspec.Struct, frozen=True):
    """One way to ask for fewer entries. `item` filters look inside a comma-separated column."""

    name: str
    column: str
    doc: str
    match: Literal["whole", "item"] = "whole"


FILTERS: tuple[Filter, ...] = (
    Filter("org", "org", "Only this organisation."),
    Filter("tenant", "tenant", "Only this tenant."),
    Filter("agent", "agent", "Only this agent: its id, or ORG/TENANT/AGENT."),
    Filter("kind", "kind", "Only entries of this kind, for example decision."),
    Filter("action", "action", "Only this action, for example llm.call."),
    Filter("outcome", "outcome", "Only this outcome, for example deny."),
    Filter("finding", "findings", "Only entries with this finding.", match="item"),
    Filter("trace", "trace_id", "Only this OTLP trace id (32 hex digits)."),
)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a report. Times are Unix ns, `None` is open; the range is [from, to)."""

    from_ns: int | None = None
    to_ns: int | None = None
    time_zone: str = "UTC"
    by: tuple[str, ...] = ()
    where: dict[str, tuple[str, ...]] = {}
    limit: int | None = None


def parse_range(
    from_text: str | None, to_text: str | None, *, time_zone: str, now_ns: int
) -> tuple[int | None, int | None]:
    """Both ends of a period; raises `ConfigError` when it is empty or an end is not a time."""
    from_ns = None if from_text is None else parse_time(from_text, time_zone=time_zone, now_ns=now_ns)
    to_ns = None if to_text is None else parse_time(to_text, time_zone=time_zone, now_ns=now_ns)
    if from_ns is not None and to_ns is not None and from_ns >= to_ns:
        raise ConfigError(
            f"--from {from_text} is not before --to {to_text}.",
            fix="--from is the first moment reported, --to the first moment left out.",
        )
    return from_ns, to_ns


def parse_time(text: str, *, time_zone: str, now_ns: int) -> int:
    """A date, an RFC 3339 time or an age such as `24h` to Unix ns; raises `ConfigError`.

    A date is midnight, and a time without offset is local, in `time_zone`.
    """
    if re.fullmatch(r"\d+[A-Za-z]+", text):
        return _in_range(now_ns - Duration(text).ns, text)
    match = _TIME.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text!r} is not a time.", fix=f"Write {EXAMPLES}.")
    offset = (match["offset"] or "").upper().replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(f"{match['date']}T{match['clock'] or '00:00'}{offset}")
    except ValueError as error:
        raise ConfigError(f"{text!r} is not a time: {error}.", fix=f"Write {EXAMPLES}.") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=check_time_zone(time_zone))
    # datetime stops at microseconds, the ledger does not: the fraction is added as digits.
    whole_s = (moment - _EPOCH) // timedelta(seconds=1)
    return _in_range(whole_s * 10**9 + int((match["fraction"] or "").ljust(9, "0")), text)


def check_time_zone(name: str) -> zoneinfo.ZoneInfo:
    """The zone of an IANA name; raises `ConfigError` with the nearest one."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        fix = nearest(name, zoneinfo.available_timezones()) or "Use an IANA name such as Europe/Berlin."
        raise ConfigError(f"{name!r} is not a time zone.", fix=fix) from None


def split_words(text: str | None) -> tuple[str, ...]:
    """`a,b` as a person writes it: blanks around commas and empty parts do not count."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def parse_where(words: dict[str, str | None]) -> dict[str, tuple[str, ...]]:
    """Filter name → wanted values, several separated by commas; an agent path names its org and tenant too."""
    where = {name: values for name, text in words.items() if (values := split_words(text))}
    agents = where.get("agent", ())
    if not any("/" in agent for agent in agents):
        return where
    if len(agents) > 1 or "org" in where or "tenant" in where:
        raise ConfigError(
            f"--agent {','.join(agents)} mixes an agent path with other names.",
            fix="Give one ORG/TENANT/AGENT alone, or agent ids with --org and --tenant.",
        )
    try:
        path = AgentPath.parse(agents[0])
    except Permanent as error:
        raise ConfigError(error.what, fix=error.fix) from None
    return where | {"org": (path.org,), "tenant": (path.tenant,), "agent": (path.agent,)}


def nearest(word: str, known: Iterable[str]) -> str:
    """`Did you mean …?` for the most similar known word, or nothing when none is similar."""
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else ""


def unknown(what: str, word: str, known: Iterable[str]) -> ConfigError:
    """The error for a word that is not one of the known ones; says the nearest and all of them."""
    names = list(known)
    return ConfigError(
        f"There is no {what} {word!r}.", fix=f"{nearest(word, names)} Known: {', '.join(names)}.".strip()
    )


def _in_range(ns: int, text: str) -> int:
    if not 0 <= ns <= MAX_NS:
        raise ConfigError(f"{text!r} is outside the ledger's time.", fix="Use a time from 1970 to 2262.")
    return ns
