"""Operation and counts → what a record is to the account, and whether it is metered."""

import pytest
from msgspec.structs import replace

from tests.collector.processors.received import PLAIN, Row, read_one

BY_LOGS = replace(PLAIN, books="logs")


@pytest.mark.parametrize(
    ("row", "role", "kind"),
    [
        ({"op": "chat"}, "call", "call"),
        ({"op": "embeddings", "in": 3}, "call", "call"),
        ({"op": "execute_tool"}, "tool", "tool"),
        ({"op": "execute_tool", "in": 3}, "tool", "tool"),
        ({"op": "again", "in": 3}, "echo", "span"),
        ({"op": "invoke_agent", "in": 3}, "aggregate", "span"),
        ({"op": "invoke_agent", "in": 0, "out": 0}, "aggregate", "span"),
        ({"op": "invoke_agent", "asked": "gpt-4o", "in": 3}, "aggregate", "span"),
        ({"op": "invoke_agent"}, None, "span"),
        ({"op": "ponder", "out": 3}, "aggregate", "span"),
        ({"op": None, "provider": "openai", "in": 3}, "aggregate", "span"),
        ({"op": None, "asked": "gpt-4o", "in": 3}, "call", "call"),
        ({"op": None, "asked": "gpt-4o"}, None, "span"),
        ({"op": "fetch_response", "asked": "gpt-4o", "in": 3}, None, "span"),
    ],
)
def test_the_role_of_a_span(row: Row, role: str | None, kind: str) -> None:
    made = read_one(row, dialects=(replace(PLAIN, marks=("op", "provider", "asked")),))
    assert (made["accounting_role"], made["entry_kind"]) == (role, kind)


@pytest.mark.parametrize(
    ("row", "in_spans", "in_logs"),
    [
        ({"op": "chat", "in": 3}, ("call", "echo"), ("echo", "call")),
        ({"op": "execute_tool"}, ("tool", "echo"), ("tool", "tool")),
        ({"op": "invoke_agent", "in": 3}, ("aggregate", "echo"), ("aggregate", "aggregate")),
        ({"op": "ponder"}, (None, None), (None, None)),
    ],
)
def test_a_dialect_is_billed_by_one_signal_and_repeats_itself_on_the_other(
    row: Row, in_spans: tuple[str, str], in_logs: tuple[str, str]
) -> None:
    """A span and a log event of one call carry the same usage; counting both would double it."""
    for dialect, expected in ((PLAIN, in_spans), (BY_LOGS, in_logs)):
        made = [read_one({**row, "signal": signal}, dialects=(dialect,)) for signal in ("traces", "logs")]
        assert tuple(each["accounting_role"] for each in made) == expected
        assert made[1]["entry_kind"] == (expected[1] if expected[1] in ("call", "tool") else "log")


def test_a_stored_response_is_no_call_whatever_usage_it_repeats() -> None:
    row = read_one({"op": "fetch_response", "asked": "gpt-4o", "in": 3, "out": 5})
    assert (row["accounting_role"], row["accounting_rule"], row["metered"]) == (None, "stored_response", None)
    assert read_one({"op": "chat", "in": 3})["accounting_rule"] is None


@pytest.mark.parametrize(
    ("row", "metered"),
    [
        ({"op": "chat", "in": 3, "out": 0}, True),
        ({"op": "chat", "in": 0, "out": 3}, True),
        ({"op": "chat", "out": 3}, True),
        ({"op": "chat", "in": 0, "out": 0}, False),
        ({"op": "chat", "in": 0}, False),
        ({"op": "chat"}, False),
        ({"op": "chat", "status": 2}, None),
        ({"op": "chat", "status": 2, "in": 0, "out": 0}, None),
        ({"op": "chat", "error.type": "timeout"}, None),
        ({"op": "chat", "status": 2, "in": 3}, True),
        ({"op": "invoke_agent", "in": 3}, True),
        ({"op": "invoke_agent", "in": 0}, False),
        ({"op": "invoke_agent"}, None),
        ({"op": "again", "in": 3}, None),
        ({"op": "execute_tool", "in": 3}, None),
    ],
)
def test_zero_of_a_call_that_succeeded_means_unknown(row: Row, metered: bool | None) -> None:  # noqa: FBT001
    made = read_one(row)
    assert made["metered"] is metered
    assert (made["usage_rule"] is None) == (not made["input_tokens"] and not made["output_tokens"])


@pytest.mark.parametrize(
    ("row", "outcome"),
    [({}, "ok"), ({"status": 1}, "ok"), ({"status": 2}, "error"), ({"error.type": "x"}, "error")],
)
def test_a_status_or_an_error_type_is_a_failure(row: Row, outcome: str) -> None:
    assert read_one({"op": "chat", **row})["outcome"] == outcome
