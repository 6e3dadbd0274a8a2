"""Trees of spans nobody would draw, told in any order, in pieces and over restarts: the same sums.

Calls, sums, agents and tools stand under each other at random, share ids, scopes and services, fail
and overlap. What the captures do not show, this does.
"""

import random
from collections import Counter

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.collector.accounting.story import AGENT_RUN, NO_USAGE, Circumstances, told, usage
from tests.collector.accounting.test_order import Totals, totals
from tests.collector.booking import Books
from tests.otlp import CHAT, Value

TOOL: dict[str, Value] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
KINDS: dict[str, dict[str, Value]] = {
    "call": CHAT,
    "other call": CHAT | usage(2_000, 200),
    "cached call": CHAT | {"gen_ai.usage.cache_read.input_tokens": 400},
    "unmetered call": NO_USAGE,
    "embedding": CHAT | {"gen_ai.operation.name": "embeddings"},
    "sum": AGENT_RUN | usage(1_000, 100),
    "agent": AGENT_RUN,
    "tool": TOOL,
    "plain": {},
}
IDS = ("", "", "", "chatcmpl-aaaaaaaa", "chatcmpl-bbbbbbbb")
AGENTS = ("", "", "", "A", "B")


@st.composite
def rows(draw: st.DrawFn) -> list[pa.Table]:
    """Two to seven spans of at most two traces, each under any that came before it."""
    made: list[pa.Table] = []
    for number in range(draw(st.integers(2, 7))):
        kind = draw(st.sampled_from(sorted(KINDS)))
        attributes = dict(KINDS[kind])
        if "call" in kind and (response := draw(st.sampled_from(IDS))):
            attributes["gen_ai.response.id"] = response
        if kind == "tool" and draw(st.booleans()):
            attributes["gen_ai.tool.call.id"] = draw(st.sampled_from(["call_1", "call_abcdefghijklmnop"]))
        if agent := draw(st.sampled_from(AGENTS)):
            attributes["gen_ai.agent.name"] = agent
        start = draw(st.sampled_from([0, 5, 50, 1_000, 9_000]))
        given_: Circumstances = {
            "trace": draw(st.sampled_from(["t", "t", "u"])),
            "at": (start, start + draw(st.sampled_from([0, 10, 100, 1_000]))),
            "scope": draw(st.sampled_from(["one", "two"])),
            "service": draw(st.sampled_from(["app", "app", "other"])),
            "failed": draw(st.integers(0, 7)) == 0,
            "tenant_key": True,
        }
        under = draw(st.sampled_from(["", *(str(before) for before in range(number))]))
        made.append(told(str(number), attributes, under, **given_))
    return made


def tools(books: Books) -> Counter[tuple[object, ...]]:
    """Tool executions by tool and agent."""
    counted: Counter[tuple[object, ...]] = Counter()
    for row in books.all().to_pylist():
        if row["accounting_role"] == "tool" and row["call_count"]:
            counted[row["tool_name"], row["agent"], row["claimed_agent"]] += row["call_count"]
    return Counter({key: count for key, count in counted.items() if count})


def sums(books: Books) -> tuple[Totals, Counter[tuple[object, ...]]]:
    return totals(books), tools(books)


@settings(max_examples=60, deadline=None)
@given(spans=rows(), seed=st.integers(0, 2**32))
def test_any_tree_in_any_order_pieces_and_restarts_sums_to_the_same(spans: list[pa.Table], seed: int) -> None:
    order = random.Random(seed)
    whole = Books()
    whole.book(pa.concat_tables(spans, promote_options="default"))
    parts, left = Books(), order.sample(spans, len(spans))
    while left:
        size = order.choice([1, 1, 2, 3])
        parts.book(pa.concat_tables(left[:size], promote_options="default"))
        left = left[size:]
        if order.random() < 0.3:
            parts.restart()
    assert sums(parts) == sums(whole)
