"""Providers' usage objects → token counts by canonical column."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.dialects.dialect import TOKEN_COLUMNS
from collector.pricing.rate import MAX_TOKENS
from collector.processors.usage_document import MAX_TEXT, read_usage
from tests.collector.processors.received import read, read_one

OPENAI_CHAT = {
    "completion_tokens": 104,
    "prompt_tokens": 1_664,
    "total_tokens": 1_768,
    "completion_tokens_details": {"accepted_prediction_tokens": 0, "audio_tokens": 4, "reasoning_tokens": 69},
    "prompt_tokens_details": {"audio_tokens": 7, "cached_tokens": 1_536},
}
OPENAI_RESPONSES = {
    "input_tokens": 1_934,
    "input_tokens_details": {"cache_write_tokens": 5, "cached_tokens": 1_792},
    "output_tokens": 108,
    "output_tokens_details": {"reasoning_tokens": 70},
    "total_tokens": 2_042,
}
ANTHROPIC = {
    "input_tokens": 163,
    "cache_creation": {"ephemeral_1h_input_tokens": 509, "ephemeral_5m_input_tokens": 2_009},
    "cache_creation_input_tokens": 2_518,
    "cache_read_input_tokens": 2_176,
    "output_tokens": 47,
    "service_tier": "standard",
}
MLFLOW = {
    "input_tokens": 4_857,
    "output_tokens": 47,
    "total_tokens": 4_904,
    "cache_read_input_tokens": 2_176,
    "cache_creation_input_tokens": 2_518,
    "cache_creation_input_tokens_above_1hr": 509,
}
LANGCHAIN = {
    "input_tokens": 4_857,
    "output_tokens": 47,
    "total_tokens": 4_904,
    "input_token_details": {
        "audio": 1,
        "cache_read": 2_176,
        "cache_creation": 0,
        "ephemeral_5m_input_tokens": 2_009,
        "ephemeral_1h_input_tokens": 509,
    },
    "output_token_details": {"audio": 2, "reasoning": 20},
}
LITELLM = {
    "completion_tokens": 44,
    "prompt_tokens": 4_720,
    "total_tokens": 4_764,
    "completion_tokens_details": {"reasoning_tokens": 0, "text_tokens": 44},
    "prompt_tokens_details": {
        "audio_tokens": None,
        "cached_tokens": 2_048,
        "text_tokens": 156,
        "cache_creation_tokens": 2_516,
        "cache_creation_token_details": {"ephemeral_5m_input_tokens": 2_008, "ephemeral_1h_input_tokens": 508},
    },
    "cache_creation_input_tokens": 2_516,
    "cache_read_input_tokens": 2_048,
}
LANGFUSE = {"input": 128, "input_cached_tokens": 1_536, "output": 35, "output_reasoning_tokens": 69, "total": 1_768}
GEMINI = {
    "promptTokenCount": 300,
    "candidatesTokenCount": 23,
    "cachedContentTokenCount": 200,
    "thoughtsTokenCount": 65,
    "totalTokenCount": 388,
}
COLUMNS: tuple[str, ...] = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "input_audio_tokens",
    "output_tokens",
    "reasoning_tokens",
    "output_audio_tokens",
)


@pytest.mark.parametrize(
    ("document", "counts"),
    [
        (OPENAI_CHAT, (1_664, 1_536, None, None, 7, 104, 69, 4)),
        (OPENAI_RESPONSES, (1_934, 1_792, 5, None, None, 108, 70, None)),
        (ANTHROPIC, (4_857, 2_176, 2_518, 509, None, 47, None, None)),
        (MLFLOW, (4_857, 2_176, 2_518, 509, None, 47, None, None)),
        (LANGCHAIN, (4_857, 2_176, 2_518, 509, 1, 47, 20, 2)),
        (LITELLM, (4_720, 2_048, 2_516, 508, None, 44, 0, None)),
        (LANGFUSE, (1_664, 1_536, None, None, None, 104, 69, None)),
        ({**LANGFUSE, "total": None}, (1_664, 1_536, None, None, None, 104, 69, None)),
        ({"input": 1_664, "output": 35, "input_cached_tokens": 1_536, "total": 1_699}, (1_664, 1_536, *[None] * 3, 35)),
        (GEMINI, (300, 200, None, None, None, 88, 65, None)),
        ({"input": 149}, (149,)),
        ({"prompt_tokens": "12", "completion_tokens": 7.0}, (12, None, None, None, None, 7)),
        ({"cache_read": 1_792, "audio": 0}, (None, 1_792)),
        ({"cache_creation": {"ephemeral_5m_input_tokens": 3}, "input_tokens": 4}, (7, None, 3)),
        ({}, ()),
    ],
)
def test_each_shape_is_read_with_input_and_output_whole(document: object, counts: tuple[int | None, ...]) -> None:
    expected = {name: count for name, count in zip(COLUMNS, counts, strict=False) if count is not None}
    for text in (json.dumps(document), json.dumps(json.dumps(document)), repr(document), json.dumps(repr(document))):
        assert read_usage(text) == (expected, True), text


@pytest.mark.parametrize("text", ["null", '"null"', "{}", '{"prompt_tokens": null, "prompt_tokens_details": null}'])
def test_nothing_said_is_nothing_wrong(text: str) -> None:
    assert read_usage(text) == ({}, True)


@pytest.mark.parametrize("value", [-1, 1.5, True, "many", "", [1], MAX_TOKENS + 1, 10**30, 1e300, "1" * 5_000])
def test_a_count_that_is_none_is_unreadable_and_the_rest_is_read(value: object) -> None:
    for text in (
        json.dumps({"input_tokens": value, "output_tokens": 5}),
        repr({"input_tokens": value, "output_tokens": 5}),
    ):
        assert read_usage(text) == ({"output_tokens": 5}, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "[1]",
        "usage",
        '{"input_tokens": 5',
        "{'input_tokens': nan}",
        "Usage(input_tokens=5)",
        "{'input_tokens': __import__('os')}",
        "{[]: 1}",
        "{'a\0': 1}",
        "{'a': " + "[" * 9_000,
        "{'a': " + "-" * 9_000 + "1}",
        "{'a': " + "(" * 200 + ")" * 200 + "}",
        '{"a": ' + "[" * 9_000,
        '{"a":' * 3_000,
        "{" + " " * MAX_TEXT + "}",
        '"' * 3,
    ],
)
def test_what_is_no_usage_object_is_unreadable(text: str) -> None:
    assert read_usage(text) == ({}, False)


Leaf = st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats() | st.text(max_size=5)
Names = st.sampled_from(
    sorted(
        {
            name
            for shape in (OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC, MLFLOW, LANGCHAIN, LITELLM, LANGFUSE, GEMINI)
            for name in shape
        }
    )
)
Inner = st.sampled_from(["cached_tokens", "reasoning_tokens", "audio", "cache_read", "ephemeral_1h_input_tokens", "x"])
Documents = st.dictionaries(Names, Leaf | st.dictionaries(Inner, Leaf, max_size=4), max_size=9)


@given(st.text() | st.builds("{{{}".format, st.text()) | Documents.map(repr) | Documents.map(json.dumps))
def test_any_text_is_answered(text: str) -> None:
    counts, readable = read_usage(text)
    assert set(counts) <= set(TOKEN_COLUMNS)
    assert all(0 <= count <= 4 * MAX_TOKENS for count in counts.values())
    assert readable in (True, False)


@given(st.lists(Documents, min_size=1, max_size=5))
def test_what_a_row_takes_from_objects_fits(documents: list[dict[str, object]]) -> None:
    for row in read(*({"op": "chat", "usage": repr(document)} for document in documents)):
        count = {name: row[name] or 0 for name in TOKEN_COLUMNS}
        assert count["cache_read_tokens"] + count["cache_write_tokens"] <= count["input_tokens"]  # type: ignore[operator]
        assert count["reasoning_tokens"] <= count["output_tokens"]  # type: ignore[operator]


def test_an_object_fills_what_has_no_attribute_and_changes_nothing_else() -> None:
    row = read_one({"op": "chat", "in": 2_000, "out": 104, "usage": json.dumps(OPENAI_CHAT)})
    assert (row["input_tokens"], row["cache_read_tokens"], row["reasoning_tokens"]) == (2_000, 1_536, 69)
    assert row["usage_rule"] == "usage_document"


def test_zeros_give_way_to_an_object_that_has_more() -> None:
    zeros = {"op": "chat", "in": 0, "out": 0}
    row = read_one({**zeros, "usage": json.dumps(OPENAI_CHAT)})
    assert (row["input_tokens"], row["output_tokens"], row["metered"]) == (1_664, 104, True)
    row = read_one({**zeros, "usage": '{"prompt_tokens": 0}'})
    assert (row["input_tokens"], row["metered"], row["usage_rule"]) == (0, False, None)


def test_a_second_object_fills_what_the_first_left() -> None:
    row = read_one(
        {"op": "chat", "usage": '{"input_tokens": 9}', "usage.more": '{"input_tokens": 5, "output_tokens": 3}'}
    )
    assert (row["input_tokens"], row["output_tokens"]) == (9, 3)


def test_an_object_that_cannot_be_read_is_a_finding_on_its_row() -> None:
    made = read({"op": "chat", "usage": "{"}, {"op": "chat"}, {"op": "chat", "usage": '{"input_tokens": 5}'})
    assert [row["findings"] for row in made] == ["usage_document_unreadable", None, None]
    assert [row["metered"] for row in made] == [False, False, True]
