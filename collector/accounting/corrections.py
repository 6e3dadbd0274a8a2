"""A booked line and the line it should be → the ledger entries that take one back and book the other.

An entry is never changed: a reversal is the old line with every number negated, a rebooking is the
new one. Together with the original they sum to the new line, for every report that sums.
"""

from collections.abc import Mapping

from collector.accounting.merge import LINE, TOKENS
from collector.accounting.records import Row
from schemas.accounting import Rule
from schemas.ids import new_id
from schemas.tables import EntryKind

ACTION = "account.correct"
_ACTOR = "system:account"
_NEGATED = (*TOKENS, "cost_nano_usd", "call_count", "failed_count")
# A correction is not received telemetry, and its price is found anew.
_OWN = ("signal", "findings", "detail", "emitted_cost_nano_usd")


def reversal(booked: Row, corrects: str, why: str, now_ns: int) -> Row:
    """Take back what is booked for the entry `corrects`."""
    row = _correction(booked, corrects, now_ns)
    row |= {name: None if booked[name] is None else -booked[name] for name in _NEGATED}
    row |= {"accounting_rule": why, "outcome": "reversed", "findings": booked["findings"]}
    row["message"] = f"Taken back: {_REASONS.get(why, why)}."
    return row


def rebooking(carrier: Row, line: Row, now_ns: int) -> Row:
    """Book a line for the entry of `carrier`, without its cost."""
    row = _correction(carrier, carrier["entry_id"], now_ns)
    row |= {name: line[name] for name in LINE}
    row |= {"outcome": "error" if line["failed_count"] else "ok", "subject": line["tool_name"] or line["model"]}
    row["message"] = "Booked as all of its records tell it together."
    return row


def _correction(of: Row, corrects: str, now_ns: int) -> Row:
    return (
        dict(of)
        | dict.fromkeys(_OWN)
        | {
            "entry_id": new_id(),
            "kind": EntryKind.CORRECTION,
            "corrects": corrects,
            "received_time": now_ns,
            "actor": _ACTOR,
            "action": ACTION,
        }
    )


_REASONS: Mapping[str, str] = {
    Rule.SAME_RESPONSE: "another record has the provider's same response id",
    Rule.SAME_SPAN: "another record tells of the same span",
    Rule.NESTED: "the call around it or inside it is the same one",
    Rule.SAME_TIME: "another instrumentation tells of it too",
    Rule.AGGREGATE: "calls below it are metered",
    Rule.COVERED: "a sum that is billed covers it",
    Rule.ECHO: "another record of its emitter is billed",
    Rule.SAME_TOOL_CALL: "another record tells of the same tool call",
    Rule.FAILED: "it failed",
    Rule.CORRECTED: "more is known of it now",
}
