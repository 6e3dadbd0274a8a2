"""The rows that tell of one call → the one line that is booked for it.

One row carries the usage, whole, so that no count is ever mixed of two; what it does not know is
filled in from the others: the agent from the wrapper, the cache split and service tier from the
client inside. Which row that is depends on what the rows say, not on which came first.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from collector.accounting.resolve import BILLED
from schemas.accounting import SPLIT_FROM_COST, Role, Rule
from schemas.ids import agent_id

Row = dict[str, Any]

# Whoever is nearest to the work knows best whose it is.
_SOURCES = {"span": 0, "ancestor": 1, "main_agent": 2, "service": 3}
_FILLED = (
    "provider", "request_model", "service_tier", "region", "server_address", "response_id", "request_id",
    "conversation_id", "decision_id", "emitted_cost_nano_usd",
)  # fmt: skip
# Classes and the class they are part of.
_PARTS = {
    "cache_read_tokens": "input_tokens",
    "cache_write_tokens": "input_tokens",
    "input_audio_tokens": "input_tokens",
    "cache_write_1h_tokens": "cache_write_tokens",
    "reasoning_tokens": "output_tokens",
    "output_audio_tokens": "output_tokens",
}
TOKENS = ("input_tokens", "output_tokens", *_PARTS)
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
    _attribute(line, told)
    line["event_time"] = _call_time(carrier, told)
    return carrier, line


def attribute(rows: Row, name: str, source: str) -> None:
    """Give a row the agent it is claimed for; a key that belongs to one agent has named it already."""
    rows["claimed_agent"], rows["claim_source"] = name, source
    if rows["attribution_source"] != "credential":
        rows["agent"], rows["attribution_source"] = agent_id(name), source


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
    """A class the carrier does not split off, from a row that counted the same whole."""
    for row in others:
        for part, whole in _PARTS.items():
            if line[part] is None and row[part] is not None and row[whole] == line[whole] is not None:
                line[part] = row[part]


def _attribute(line: Row, told: list[Told]) -> None:
    """The agent is the one named closest to the work, then the outermost record's."""
    outermost = min(
        told, key=lambda each: (each.start, -each.end, _hex(each.row["trace_id"]), _hex(each.row["span_id"]))
    )
    line["agent"], line["attribution_source"] = outermost.row["agent"], outermost.row["attribution_source"]
    claiming = [each for each in told if each.row["claimed_agent"] is not None]
    if claiming:
        best = min(
            claiming,
            key=lambda each: (_SOURCES[each.row["claim_source"]], each.start, -each.end, each.row["claimed_agent"]),
        )
        attribute(line, best.row["claimed_agent"], best.row["claim_source"])


def _call_time(carrier: Told, told: list[Told]) -> int:
    """When the call was made: of a response that was read again later, when it was first asked for."""
    id_ = carrier.row["response_id"]
    earlier = [each.start for each in told if id_ and each.row["response_id"] == id_ and each.end < carrier.start]
    return int(min(earlier, default=carrier.row["event_time"]))


def _outermost(told: Told) -> tuple[Any, ...]:
    return (told.start, -told.end, _hex(told.row["trace_id"]), _hex(told.row["span_id"]))


def _hex(id_: bytes | str | None) -> str:
    return id_.hex() if isinstance(id_, bytes) else id_ or ""
