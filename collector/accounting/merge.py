"""The rows that tell of one call → the one line that is booked for it.

One row carries the usage, whole, so that no count is ever mixed of two; what it does not know is
filled in from the others: the agent from the wrapper, the cache split and service tier from the
client inside. Which row that is depends on what the rows say, not on which came first.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from collector.accounting.records import Row
from collector.accounting.resolve import BILLED
from schemas.accounting import SPLIT_FROM_COST, Role, Rule
from schemas.ids import agent_id

# Whoever is nearest to the work knows best whose it is.
_SOURCES = {"span": 0, "ancestor": 1, "main_agent": 2, "service": 3}
_FILLED = (
    "provider", "request_model", "service_tier", "region", "server_address", "response_id", "request_id",
    "conversation_id", "decision_id", "emitted_cost_nano_usd",
)  # fmt: skip
# Each class and the classes that are part of it.
_PARTS_OF = {
    "input_tokens": ("cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "input_audio_tokens"),
    "cache_write_tokens": ("cache_write_1h_tokens",),
    "output_tokens": ("reasoning_tokens", "output_audio_tokens"),
}
TOKENS = ("input_tokens", "output_tokens", *_PARTS_OF["input_tokens"], *_PARTS_OF["output_tokens"])
DIMENSIONS = (
    "org", "tenant", "agent", "claimed_agent", "claim_source", "attribution_source", "provider", "model",
    "response_model", "operation", "service_tier", "region", "service_name", "event_time", "metered", "tool_name",
)  # fmt: skip
"""What a line is counted by; with `TOKENS` and the reason it is billed, all that a report sums."""
LINE = (*DIMENSIONS, *TOKENS, *_FILLED, "usage_rule", "accounting_rule", "call_count", "failed_count")
COMPARED = (*DIMENSIONS, *TOKENS, "call_count", "failed_count")


class Told(NamedTuple):
    """One row of a unit: its place among the records, when it began and ended, what it says, what is booked for it."""

    place: int
    start: int
    end: int
    row: Row
    booked: Row | None


def merged(told: list[Told], rule: str) -> tuple[Told, Row]:
    """The row that carries the call, and the line to book for it."""
    ranked = sorted(told, key=_rank, reverse=True)
    carrier = ranked[0]
    line = {name: carrier.row.get(name) for name in LINE} | {"accounting_rule": rule} | counts(rule)
    rest = [each.row for each in ranked[1:]]
    _fill(line, rest)
    _fill_parts(line, rest)
    _attribute(line, told, carrier)
    line["event_time"] = _call_time(carrier, told)
    return carrier, line


def attribute(row: Row, name: str, source: str) -> None:
    """Give a row the agent it is claimed for; a key that belongs to one agent has named it already."""
    row["claimed_agent"], row["claim_source"] = name, source
    if row["attribution_source"] != "credential":
        row["agent"], row["attribution_source"] = agent_id(name), source


def as_told(row: Row) -> Row:
    """A booked row without what pricing found out: it finds it again."""
    rule = row["usage_rule"]
    if rule is None or not rule.endswith(SPLIT_FROM_COST):
        return row
    return row | {"cache_write_1h_tokens": None, "usage_rule": rule.removesuffix(SPLIT_FROM_COST)}


def counts(rule: str) -> Row:
    """What a line counts for under a rule."""
    return {"call_count": int(rule in BILLED), "failed_count": int(rule == Rule.FAILED)}


def differs(booked: Row, line: Row) -> bool:
    """Whether booking this line changes any report."""
    booked = as_told(booked)
    return any(booked[name] != line[name] for name in COMPARED)


def _rank(told: Told) -> tuple[Any, ...]:
    """How much a row knows of its call; ties are broken by what never changes."""
    row = told.row
    detail = sum(row[name] is not None for name in TOKENS)
    return (
        row["accounting_role"] != Role.ECHO,
        bool(row["metered"]),
        row["cache_write_1h_tokens"] is not None,
        row["signal"] == "traces",
        detail,
        row["emitted_cost_nano_usd"] is not None,
        row["response_model"] is not None,
        row["service_tier"] is not None,
        row["response_id"] is not None,
        (row["input_tokens"] or 0) + (row["output_tokens"] or 0),
        -told.start,
        _hex(row["trace_id"]),
        _hex(row["span_id"]),
    )


def _fill(line: Row, others: Iterable[Row]) -> None:
    for row in others:
        if line["response_model"] is None and row["response_model"] is not None:
            line["response_model"], line["model"] = row["response_model"], row["model"]
        for name in _FILLED:
            if line[name] is None:
                line[name] = row[name]


def _fill_parts(line: Row, others: Iterable[Row]) -> None:
    """Classes the carrier does not split off, from a row that counted the same whole: all of a whole from one row."""
    for row in others:
        for whole, parts in _PARTS_OF.items():
            if row[whole] == line[whole] is not None and not any(line[part] for part in parts):
                line.update({part: row[part] for part in parts if row[part] is not None})


def _attribute(line: Row, told: list[Told], carrier: Told) -> None:
    """The agent is the one named closest to the work. Who pays is the key's agent, where a key names one.

    Of several keys that tell the same usage the outermost pays, which is the agent's and not the
    gateway's; nobody pays for usage only others tell.
    """
    paying = [each for each in told if _usage(each) == _usage(carrier)]
    by_key = [each for each in paying if each.row["attribution_source"] == "credential"]
    by_key = by_key or [each for each in told if each.row["attribution_source"] == "credential"]
    payer = min(by_key or paying, key=_outermost).row
    line["agent"], line["attribution_source"] = payer["agent"], payer["attribution_source"]
    claiming = [each for each in told if each.row["claimed_agent"] is not None]
    if claiming:
        best = min(claiming, key=lambda each: (_SOURCES[each.row["claim_source"]], *_outermost(each)))
        attribute(line, best.row["claimed_agent"], best.row["claim_source"])


def _usage(told: Told) -> tuple[Any, ...]:
    return tuple(told.row[name] for name in ("metered", "input_tokens", "output_tokens"))


def _call_time(carrier: Told, told: list[Told]) -> int:
    """When the call was made: of a response that was read again later, when it was first asked for."""
    id_ = carrier.row["response_id"]
    earlier = [each.start for each in told if id_ and each.row["response_id"] == id_ and each.end < carrier.start]
    return int(min(earlier, default=carrier.row["event_time"]))


def _outermost(told: Told) -> tuple[Any, ...]:
    return (told.start, -told.end, _hex(told.row["trace_id"]), _hex(told.row["span_id"]))


def _hex(id_: bytes | str | None) -> str:
    return id_.hex() if isinstance(id_, bytes) else id_ or ""
