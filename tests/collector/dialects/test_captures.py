"""What real emitters sent, record by record, against what the provider billed.

Which records are one call is the account's business: a call may be told here by several records,
but each must tell it right.
"""

from collections import Counter, defaultdict
from functools import cache
from typing import Any

import pytest

from collector.dialects import DIALECTS
from collector.pricing.names import Names
from collector.processors.normalise import normalise
from schemas.accounting import Role
from tests.captures_on_disk import emitters, requests, truth
from tests.collector.booking import decode
from tests.collector.dialects.expected import EXPECTED

Record = dict[str, Any]
Call = dict[str, Any]

CALLS = [emitter for emitter in emitters() if emitter != "mcp-sdk-native"]


@cache
def records(emitter: str) -> list[Record]:
    rows: list[Record] = normalise(decode(list(requests(emitter))), DIALECTS, Names()).to_pylist()
    return rows


def told(emitter: str, *, metered: bool | None) -> list[Record]:
    return [r for r in records(emitter) if r["accounting_role"] == Role.CALL and r["metered"] is metered]


def classes(call: Call) -> dict[str, int]:
    """What was billed, in our token columns."""
    tokens = call["tokens"]
    return {
        "input_tokens": tokens["input_total"],
        "cache_read_tokens": tokens["cache_read"],
        "cache_write_tokens": tokens["cache_write_5m"] + tokens["cache_write_1h"],
        "cache_write_1h_tokens": tokens["cache_write_1h"],
        "output_tokens": tokens["output"],
        "reasoning_tokens": tokens["reasoning"],
    }


def billed(emitter: str) -> dict[int, Call]:
    return {call["n"]: call for call in truth(emitter)["calls"] if call["billed"]}


def number(record: Record, calls: dict[int, Call]) -> int | None:
    """The call a record tells of: by the provider's id, else by its counts, which no two calls share."""
    usage = (record["input_tokens"], record["output_tokens"] or 0)
    return next(
        (
            n
            for fits in (
                lambda call: call["response_id"] and call["response_id"] == record["response_id"],
                lambda call: (call["tokens"]["input_total"], call["tokens"]["output"]) == usage,
                lambda call: call["tokens"]["output"] == usage[1] > 0,
            )
            for n, call in calls.items()
            if fits(call)
        ),
        None,
    )


@pytest.mark.parametrize("emitter", CALLS)
def test_every_metered_record_tells_the_counts_that_were_billed(emitter: str) -> None:
    expected, calls = EXPECTED[emitter], billed(emitter)
    tellings: dict[int | None, list[Record]] = defaultdict(list)
    for record in told(emitter, metered=True):
        tellings[number(record, calls)].append(record)
    assert set(tellings) == calls.keys() - expected.unmetered.keys() - expected.unseen.keys()
    for n, tells in tellings.items():
        call = calls[n or 0]
        wrong = expected.said.get(call["n"], {})
        for column, count in classes(call).items():
            said = {record[column] or 0 for record in tells}
            assert said <= {0, count, wrong.get(column, 0)}, (n, column)
            assert count in said or column in expected.silent or column in wrong, (n, column)
        assert {record["model"] for record in tells} <= {call["response_model"], call["request_model"]}, n


@pytest.mark.parametrize("emitter", CALLS)
def test_calls_without_usage_are_exactly_the_listed_ones(emitter: str) -> None:
    expected, calls = EXPECTED[emitter], billed(emitter)
    unmetered = told(emitter, metered=False)
    assert len(unmetered) == len(expected.unmetered) + expected.without_usage
    identified = {number(record, calls) for record in unmetered if record["response_id"]}
    assert identified - {None} <= expected.unmetered.keys()


@pytest.mark.parametrize("emitter", emitters())
def test_sums_repetitions_and_tools_are_not_calls_and_refused_requests_have_failed(emitter: str) -> None:
    expected = EXPECTED[emitter]
    roles = Counter(record["accounting_role"] for record in records(emitter))
    assert (roles[Role.AGGREGATE], roles[Role.ECHO], roles[Role.TOOL]) == (
        expected.aggregates,
        expected.echoes,
        expected.tools,
    )
    assert [record["outcome"] for record in told(emitter, metered=None)] == ["error"] * expected.failed


@pytest.mark.parametrize("emitter", emitters())
def test_agents_are_named(emitter: str) -> None:
    assert {record["claimed_agent"] for record in records(emitter)} - {None} == EXPECTED[emitter].agents


@pytest.mark.parametrize("emitter", emitters())
def test_nothing_an_emitter_sends_is_found_unreadable(emitter: str) -> None:
    assert [record["findings"] for record in records(emitter) if record["findings"]] == []
