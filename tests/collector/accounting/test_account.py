"""Which records are one call, what of them is billed, and how a late one corrects what was booked."""

from collections import Counter
from itertools import permutations

import pyarrow as pa
import pytest

from schemas.accounting import Rule
from tests.collector.accounting.story import AGENT_RUN, NO_USAGE, Circumstances, bill, book, keyed, rules, told, usage
from tests.collector.booking import Books
from tests.otlp import CHAT, Value

ONE = {"calls": 1, "unmetered": 0, "input": 1_000, "output": 100}


def test_two_instrumentations_with_one_response_id_are_one_call_across_traces() -> None:
    call = CHAT | {"gen_ai.response.id": "chatcmpl-abcdefgh"}
    books = book(told("sdk", call, trace="a"), told("framework", call, trace="b", scope="two"))
    assert bill(books) == ONE
    assert rules(books) == {"sdk": Rule.USAGE, "framework": Rule.SAME_RESPONSE}


def test_the_ids_that_ollama_draws_from_a_thousand_join_nothing() -> None:
    call = CHAT | {"gen_ai.response.id": "chatcmpl-123"}
    assert bill(book(told("one", call, trace="a"), told("other", call, trace="b")))["calls"] == 2


def test_one_id_on_calls_of_other_usage_is_no_id() -> None:
    call = {**CHAT, "gen_ai.response.id": "chatcmpl-constant"}
    rows = [
        told(f"call {n}", call | usage(1_000 + n, 100), trace=f"t{n}", at=(n * 5_000, n * 5_000 + 100))
        for n in range(3)
    ]
    for order in permutations(rows):
        assert bill(book(*order))["calls"] == 3
    at_once = [told(f"call {n}", call | usage(1_000 + n, 100), trace=f"t{n}") for n in range(3)]
    assert bill(book(at_once))["calls"] == 3


def test_strangers_who_use_one_id_at_different_times_both_pay() -> None:
    call = CHAT | {"gen_ai.response.id": "chatcmpl-abcdefgh"}
    books = book(
        told("one", call, trace="a", at=(0, 100)), told("other", call, trace="b", at=(9_000, 9_100), service="other")
    )
    assert bill(books)["calls"] == 2


def test_a_gateway_and_its_client_tell_one_call_under_two_names() -> None:
    call = CHAT | {"gen_ai.response.id": "chatcmpl-abcdefgh"}
    books = book(
        told("client", call, trace="a", at=(0, 100)), told("gateway", call, trace="b", at=(10, 90), service="gateway")
    )
    assert bill(books) == ONE


def test_a_call_inside_a_call_is_that_call_with_the_detail_of_one_and_the_agent_of_the_other() -> None:
    wrapper = NO_USAGE | {"gen_ai.agent.name": "Weather"}
    inner = CHAT | {"gen_ai.usage.cache_read.input_tokens": 400}
    for order in permutations([told("wrapper", wrapper), told("inner", inner, under="wrapper", scope="two")]):
        books = book(*order)
        assert bill(books) == ONE
        line = [row for row in books.all().to_pylist() if row["call_count"] == 1][-1]
        assert (line["claimed_agent"], line["cache_read_tokens"]) == ("Weather", 400)


def test_a_call_around_several_calls_is_their_sum_and_is_not_billed() -> None:
    rows = [
        told("around", CHAT | usage(3_000, 300)),
        told("first", CHAT | usage(1_000, 100), under="around"),
        told("second", CHAT | usage(2_000, 200), under="around"),
    ]
    for order in permutations(rows):
        assert bill(book(*order)) == {"calls": 2, "unmetered": 0, "input": 3_000, "output": 300}


def test_a_call_with_an_id_and_usage_of_its_own_is_a_call_whatever_stands_around_it() -> None:
    def own(name: str, tokens: int) -> dict[str, Value]:
        return CHAT | usage(tokens, 10) | {"gen_ai.response.id": f"chatcmpl-{name}-of-its-own"}

    guarded = [told("answer", own("answer", 900)), told("guardrail", own("guardrail", 300), under="answer")]
    busy = [*guarded, told("second", own("second", 200), under="answer")]
    for rows, calls in ((guarded, 2), (busy, 3)):
        for order in permutations(rows):
            assert bill(book(*order))["calls"] == calls


def test_attempts_that_failed_are_no_calls_and_do_not_make_the_wrapper_a_sum() -> None:
    rows = [
        told("wrapper", CHAT, at=(0, 100)),
        told("attempt 1", NO_USAGE, under="wrapper", at=(1, 10), failed=True, scope="two"),
        told("attempt 2", CHAT, under="wrapper", at=(20, 90), scope="two"),
    ]
    for order in permutations(rows):
        assert bill(book(*order)) == ONE


def test_a_sum_is_billed_only_while_nothing_below_it_is_metered() -> None:
    run = told("run", AGENT_RUN | usage(1_000, 100))
    alone = book(run)
    assert bill(alone) == ONE
    assert rules(alone) == {"run": Rule.AGGREGATE_ONLY}
    alone.book(told("late child", CHAT | usage(900, 90), under="run"))
    assert bill(alone) == {"calls": 1, "unmetered": 0, "input": 900, "output": 90}
    taken_back = [row for row in alone.all().to_pylist() if row["kind"] == "correction"]
    assert [(row["call_count"], row["input_tokens"], row["accounting_rule"]) for row in taken_back] == [
        (-1, -1_000, Rule.AGGREGATE)
    ]


def test_of_nested_sums_the_smallest_is_billed_and_covers_the_unmetered_calls_below() -> None:
    rows = [
        told("outer", AGENT_RUN | usage(5_000, 500)),
        told("inner", AGENT_RUN | usage(1_000, 100), under="outer"),
        told("call", NO_USAGE, under="inner"),
    ]
    for order in permutations(rows):
        assert bill(book(*order)) == ONE


def test_a_stream_without_usage_is_counted_and_never_free() -> None:
    books = book(told("stream", NO_USAGE))
    assert bill(books) == {"calls": 1, "unmetered": 1, "input": 0, "output": 0}
    assert books.all()["cost_nano_usd"].to_pylist() == [None]


def test_usage_that_arrives_later_under_the_same_id_replaces_the_unmetered_call_at_its_own_time() -> None:
    asked = NO_USAGE | {"gen_ai.response.id": "resp_background"}
    read = CHAT | {"gen_ai.response.id": "resp_background"}
    books = book(told("create", asked, at=(0, 10)), told("retrieve", read, trace="later", at=(60_000, 60_010)))
    assert bill(books) == ONE
    first, *_ = books.all().to_pylist()
    line = [row for row in books.all().to_pylist() if row["call_count"] == 1 and row["metered"]][-1]
    assert line["event_time"] == first["event_time"]


def test_without_ids_the_same_usage_at_the_same_time_of_two_instrumentations_is_one_call() -> None:
    wrapper = told("wrapper", CHAT, trace="a", at=(0, 100), scope="langchain")
    client = told("client", CHAT | {"gen_ai.response.id": "chatcmpl-abcdefgh"}, trace="b", at=(5, 95), scope="openai")
    for order in permutations([wrapper, client]):
        assert bill(book(*order)) == ONE


@pytest.mark.parametrize(
    "other",
    [
        {"at": (200, 300), "scope": "two"},
        {"at": (5, 95), "scope": "one"},
        {"at": (5, 95), "scope": "two", "service": "another"},
    ],
    ids=["another time", "the same instrumentation", "another service"],
)
def test_what_may_be_two_calls_is_never_joined(other: Circumstances) -> None:
    books = book(told("a", CHAT, trace="a", at=(0, 100)), told("b", CHAT, **({"trace": "b"} | other)))
    assert bill(books)["calls"] == 2


def test_calls_at_the_same_time_find_their_own_wrapper_by_usage() -> None:
    rows = []
    for number in range(4):
        call = CHAT | usage(1_000 + number, 100)
        rows.append(told(f"wrapper {number}", call, trace=f"w{number}", at=(number, 100 + number), scope="langchain"))
        rows.append(told(f"client {number}", call, trace=f"c{number}", at=(10, 90), scope="openai"))
    books = book(rows)
    assert bill(books) == {"calls": 4, "unmetered": 0, "input": 4_006, "output": 400}


def test_one_tool_call_told_by_three_layers_is_counted_once() -> None:
    tool: dict[str, Value] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    rows = [
        told("framework", tool | {"gen_ai.tool.call.id": "call_1"}),
        told("client", tool, under="framework"),
        told("server", tool, under="client", service="mcp"),
    ]
    for order in permutations(rows):
        counted = [row for row in book(*order).all().to_pylist() if row["accounting_role"] == "tool"]
        assert sum(row["call_count"] for row in counted) == 1


def test_overlapping_calls_that_come_one_after_the_other_are_booked_as_when_they_come_together() -> None:
    pairs = []
    for number in range(40):
        at, call = number * 100, CHAT | usage(1_000 + number, 100)
        client = call | {"gen_ai.response.id": f"chatcmpl-{number:08d}x"}
        wrapper = told(f"w{number}", call, trace=f"w{number}", at=(at, at + 150), scope="langchain")
        pairs.append([wrapper, told(f"c{number}", client, trace=f"c{number}", at=(at + 5, at + 40), scope="openai")])
    assert bill(book(*pairs))["calls"] == bill(book([row for pair in pairs for row in pair]))["calls"] == 40


def test_one_response_told_again_and_again_stays_one_call() -> None:
    call = CHAT | {"gen_ai.response.id": "chatcmpl-abcdefgh"}
    rows = [told(f"read {n}", call, trace=f"t{n}", at=(n * 60_000, n * 60_000 + 100)) for n in range(150)]
    assert bill(book(*rows)) == bill(book(rows)) == ONE


def test_a_record_without_usage_does_not_join_two_calls_of_other_usage() -> None:
    share = {"gen_ai.response.id": "chatcmpl-abcdefgh"}
    by_id = [told("x", CHAT | share, trace="x"), told("z", CHAT | share | usage(7, 7), trace="z")]
    between = told("y", NO_USAGE | share, trace="y")
    by_time = [told("b", CHAT, trace="b", scope="two"), told("c", CHAT | usage(7, 7), trace="c", scope="three")]
    beside = told("a", NO_USAGE, trace="a")
    for calls, bridge in ((by_id, between), (by_time, beside)):
        for order in permutations([*calls, bridge]):
            assert bill(book(*order))["input"] == bill(book(calls))["input"] == 1_007


def test_two_records_of_one_call_are_not_taken_for_the_time_between_them() -> None:
    rows = [
        told("alone", CHAT, trace="t", at=(5, 105)),
        told("late wrapper", NO_USAGE, trace="u", at=(1_000, 1_010), scope="two"),
        told("early client", CHAT, "late wrapper", trace="u", at=(0, 100), scope="two"),
    ]
    for order in permutations(rows):
        assert bill(book(*order)) == bill(book(rows)) == {"calls": 2, "unmetered": 0, "input": 2_000, "output": 200}


@pytest.mark.parametrize("none", ["", " ", "None", "null", "0", "unknown", "cmpl-12"])
def test_what_emitters_write_for_no_id_is_none(none: str) -> None:
    calls = [NO_USAGE | {"gen_ai.response.id": none}] * 2
    rows = [told(f"{n}", call, trace=f"t{n}", at=(n * 5_000, n * 5_000 + 10)) for n, call in enumerate(calls)]
    assert bill(book(*rows))["calls"] == 2


def test_what_a_tool_calls_is_not_the_call_around_the_tool() -> None:
    tool: dict[str, Value] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    rows = [told("call", CHAT), told("tool", tool, "call"), told("inner", CHAT | usage(7, 7), "tool")]
    for order in permutations(rows):
        assert bill(book(*order)) == {"calls": 2, "unmetered": 0, "input": 1_007, "output": 107}


def test_classes_filled_in_from_another_record_fit_into_their_whole() -> None:
    share = CHAT | {"gen_ai.response.id": "chatcmpl-abcdefgh"}
    books = book(
        [
            told("reads", share | {"gen_ai.usage.cache_read.input_tokens": 1_000}, trace="a"),
            told("writes", share | {"gen_ai.usage.cache_write.input_tokens": 1_000}, trace="b", scope="two"),
        ]
    )
    (line,) = [row for row in books.all().to_pylist() if row["call_count"]]
    assert (line["cache_read_tokens"] or 0) + (line["cache_write_tokens"] or 0) == 1_000


def test_no_keys_payload_is_billed_to_another_key() -> None:
    share = {"gen_ai.response.id": "chatcmpl-abcdefgh"}
    victim = keyed(told("v", NO_USAGE | share, trace="v", at=(0, 900), service="v"), "victim", "k1")
    claim = CHAT | usage(900_000_000, 100) | share
    attacker = keyed(told("e", claim, trace="e", at=(10, 950), service="e"), "attacker", "k2")
    for order in permutations([victim, attacker]):
        cost = Counter[str]()
        for row in book(*order).all().to_pylist():
            cost[row["agent"]] += row["cost_nano_usd"] or 0
        assert cost["victim"] == 0 < cost["attacker"]


def test_the_key_of_an_agent_is_never_overruled_by_a_claim_under_its_tenants_key() -> None:
    wrapper = told("wrapper", NO_USAGE | {"gen_ai.agent.name": "Boss"}, tenant_key=True)
    for order in permutations([wrapper, told("inner", CHAT, "wrapper", scope="two")]):
        cost = Counter[str]()
        for row in book(*order).all().to_pylist():
            cost[row["agent"]] += row["cost_nano_usd"] or 0
        assert +cost == {"triage": 3_500_000}


def test_rows_stay_as_they_were_told() -> None:
    share = {"gen_ai.response.id": "chatcmpl-abcdefgh"}
    books = book([told("a", NO_USAGE | share), told("c", CHAT | usage(2_000, 200), "a"), told("f", CHAT | share)])
    said = {row["span_name"]: row["response_id"] for row in books.all().to_pylist() if row["kind"] == "call"}
    assert said == {"a": "chatcmpl-abcdefgh", "c": None, "f": "chatcmpl-abcdefgh"}


def test_two_calls_of_one_tool_are_two() -> None:
    tool: dict[str, Value] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    books = book(told("run", AGENT_RUN), told("a", tool, under="run"), told("b", tool, under="run"))
    assert sum(row["call_count"] or 0 for row in books.all().to_pylist()) == 2


def test_under_a_tenant_key_a_call_belongs_to_the_nearest_agent_above_it_also_when_that_comes_last() -> None:
    rows = [
        told("call", CHAT, under="step", tenant_key=True),
        told("step", {}, under="run", tenant_key=True),
        told("run", AGENT_RUN | {"gen_ai.agent.name": "Weather Agent"}, under="boss", tenant_key=True),
        told("boss", AGENT_RUN | {"gen_ai.agent.name": "Boss"}, tenant_key=True),
    ]
    for order in permutations(rows):
        rows_booked = [row for row in book(*order).all().to_pylist() if row["call_count"]]
        cost = dict.fromkeys({row["agent"] for row in rows_booked}, 0)
        for row in rows_booked:
            cost[row["agent"]] += row["cost_nano_usd"]
        assert {agent: nano for agent, nano in cost.items() if nano} == {"weather-agent": 3_500_000}
        assert {row["attribution_source"] for row in rows_booked if row["agent"] == "weather-agent"} == {"ancestor"}


def test_without_an_agent_in_the_trace_the_resource_names_it() -> None:
    main = book(told("call", CHAT, tenant_key=True, main_agent="Front Desk")).all().to_pylist()[0]
    assert (main["agent"], main["claimed_agent"], main["attribution_source"]) == (
        "front-desk",
        "Front Desk",
        "main_agent",
    )
    service = book(told("call", CHAT, tenant_key=True, service="Billing Bot")).all().to_pylist()[0]
    assert (service["agent"], service["attribution_source"]) == ("billing-bot", "service")


def test_a_stored_response_that_is_fetched_is_never_billed() -> None:
    fetched = CHAT | {"gen_ai.operation.name": "fetch_response", "gen_ai.response.id": "resp_stored"}
    books = book(told("fetch", fetched))
    assert bill(books)["calls"] == 0
    assert rules(books) == {"fetch": Rule.STORED_RESPONSE}


def test_the_key_of_an_agent_names_it_whatever_the_spans_claim() -> None:
    books = book([told("call", CHAT, under="run"), told("run", AGENT_RUN | {"gen_ai.agent.name": "Other"})])
    call = next(row for row in books.all().to_pylist() if row["kind"] == "call")
    assert (call["agent"], call["attribution_source"]) == ("triage", "credential")
    assert (call["claimed_agent"], call["claim_source"]) == ("Other", "ancestor")


def test_a_span_sent_again_with_other_content_is_one_call_and_a_finding() -> None:
    books = book(told("call", CHAT), told("call", CHAT | usage(2_000, 100)))
    assert bill(books) == {"calls": 1, "unmetered": 0, "input": 2_000, "output": 100}
    assert books.all()["findings"].to_pylist()[1] == "conflicting_duplicate"


def test_parents_in_a_circle_harm_nothing() -> None:
    books = book([told("a", CHAT, under="b"), told("b", CHAT | usage(7, 7), under="a")])
    assert bill(books)["calls"] >= 1


def test_a_booking_that_is_made_again_after_a_failure_is_the_same() -> None:
    books = Books()
    rows = told("call", CHAT)
    books.process(rows)
    books.book(rows)
    assert bill(books) == ONE


def test_what_the_window_forgot_is_booked_alone() -> None:
    call = CHAT | {"gen_ai.response.id": "chatcmpl-abcdefgh"}
    books = Books(max_records=4)
    books.book(told("first", call, trace="a"))
    for number in range(6):
        books.book(told(f"other {number}", CHAT, trace=f"o{number}", at=(number * 2_000, number * 2_000 + 10)))
    books.book(told("again", call, trace="b", at=(90_000, 90_010)))
    assert bill(books)["calls"] == 8


def test_restarted_books_know_what_was_booked() -> None:
    call = CHAT | {"gen_ai.response.id": "chatcmpl-abcdefgh"}
    books = book(told("run", AGENT_RUN | usage(5, 5)), told("sdk", call, trace="a"))
    books.restart()
    later = [told("child", CHAT, under="run"), told("framework", call, trace="b", scope="two")]
    books.book(pa.concat_tables(later, promote_options="default"))
    assert bill(books) == {"calls": 2, "unmetered": 0, "input": 2_000, "output": 200}
