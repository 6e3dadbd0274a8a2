"""Token counts → counts whose classes fit each other, and the rule that made them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from collector.dialects.dialect import TOKEN_COLUMNS, Dialect
from collector.pricing.rate import MAX_TOKENS
from tests.collector.processors.received import PLAIN, Row, read, read_one

APART = replace(PLAIN, input_excludes_cache=True, output_excludes_reasoning=True)


@pytest.mark.parametrize(
    ("row", "expected", "rule"),
    [
        ({"in": 107, "in.read": 100, "out": 5}, {"input_tokens": 107}, "as_sent"),
        ({"in": 107, "in.read": 1_152, "in.write": 8}, {"input_tokens": 1_267}, "cache_added_to_input"),
        ({"in.read": 5}, {"input_tokens": 5}, "cache_added_to_input"),
        ({"out": 23, "out.reasoning": 65}, {"output_tokens": 88}, "reasoning_added_to_output"),
        ({"in": 1, "in.read": 2, "out": 1, "out.reasoning": 2}, {"input_tokens": 3}, "cache_and_reasoning_added"),
        ({"in": 100, "in.write.1h": 7}, {"cache_write_tokens": 7, "input_tokens": 100}, "as_sent"),
        ({"in": 100, "in.write": 5, "in.write.1h": 7}, {"cache_write_tokens": 7}, "as_sent"),
        (
            {"in": 5, "in.write": 1, "in.write.1h": 7},
            {"cache_write_tokens": 7, "input_tokens": 12},
            "cache_added_to_input",
        ),
        (
            {"in": 5, "in.audio": 5, "out": 3, "out.audio": 3},
            {"input_audio_tokens": 5, "output_audio_tokens": 3},
            "as_sent",
        ),
        ({"in": 5}, {"output_tokens": None, "cache_read_tokens": None}, "as_sent"),
        ({"in": 0, "out": 0}, {"input_tokens": 0, "output_tokens": 0}, None),
    ],
)
def test_a_part_larger_than_its_whole_was_counted_apart(row: Row, expected: dict[str, int], rule: str | None) -> None:
    made = read_one({"op": "chat", **row})
    assert {name: made[name] for name in expected} == expected
    assert (made["usage_rule"], made["findings"]) == (rule, None)


def test_a_dialect_that_counts_parts_apart_is_believed_where_the_counts_do_not_show_it() -> None:
    """500 uncached and 100 cached: no check can see that."""
    row: Row = {"op": "chat", "in": 500, "in.read": 60, "in.write": 40, "out": 50, "out.reasoning": 20}
    made = read_one(row, dialects=(APART,))
    assert (made["input_tokens"], made["output_tokens"]) == (600, 70)
    assert made["usage_rule"] == "cache_and_reasoning_added"
    assert read_one({"op": "chat", "in": 500, "out": 50}, dialects=(APART,))["usage_rule"] == "as_sent"


def test_what_an_object_says_is_whole_though_the_dialect_counts_apart() -> None:
    usage = '{"prompt_tokens": 500, "prompt_tokens_details": {"cached_tokens": 100}, "completion_tokens": 5}'
    assert read_one({"op": "chat", "usage": usage}, dialects=(APART,))["input_tokens"] == 500


def test_audio_beyond_the_whole_is_dropped_and_marked() -> None:
    made = read(
        {"op": "chat", "in": 5, "in.audio": 6}, {"op": "chat", "out": 5, "out.audio": 6}, {"op": "chat", "in": 5}
    )
    assert [row["findings"] for row in made] == ["audio_tokens_over_whole", "audio_tokens_over_whole", None]
    assert {row[name] for row in made for name in ("input_audio_tokens", "output_audio_tokens")} == {None}
    assert made[0]["input_tokens"] == 5


@pytest.mark.parametrize("key", ["in", "in.read", "in.write.1h", "out.audio"])
def test_a_count_nobody_can_mean_takes_all_the_rows_counts_with_it(key: str) -> None:
    made = read({"op": "chat", "in": 5, "out": 5, key: MAX_TOKENS + 1}, {"op": "chat", "in": 5, "out": 5})
    assert {made[0][name] for name in TOKEN_COLUMNS} == {None}
    assert (made[0]["metered"], made[0]["usage_rule"]) == (False, None)
    assert (made[0]["findings"], made[1]["findings"]) == ("token_count_out_of_range", None)
    assert made[1]["input_tokens"] == 5


Counts = st.none() | st.integers(0, 30) | st.sampled_from([MAX_TOKENS, MAX_TOKENS + 1, 2**63 - 1])
KEYS = ("in", "in.read", "in.write", "in.write.1h", "in.audio", "out", "out.reasoning", "out.audio")
Rows = st.fixed_dictionaries({"op": st.just("chat")}, optional=dict.fromkeys(KEYS, Counts))


@given(st.lists(Rows, min_size=1, max_size=8), st.sampled_from([PLAIN, APART]))
def test_whatever_is_sent_the_classes_fit(rows: list[Row], dialect: Dialect) -> None:
    for made in read(*rows, dialects=(dialect,)):
        count = {name: int(made[name] or 0) for name in TOKEN_COLUMNS}  # type: ignore[call-overload]
        assert min(count.values()) >= 0
        assert count["cache_read_tokens"] + count["cache_write_tokens"] <= count["input_tokens"]
        assert count["cache_write_1h_tokens"] <= count["cache_write_tokens"]
        assert count["input_audio_tokens"] <= count["input_tokens"]
        assert max(count["reasoning_tokens"], count["output_audio_tokens"]) <= count["output_tokens"]


@given(st.lists(Rows, min_size=1, max_size=8))
def test_what_fits_is_left_as_it_was_sent(rows: list[Row]) -> None:
    for sent, made in zip(rows, read(*rows), strict=True):
        if made["usage_rule"] == "as_sent":
            assert (made["input_tokens"], made["output_tokens"]) == (sent.get("in"), sent.get("out"))


@given(st.lists(Rows, min_size=2, max_size=8))
def test_rows_do_not_disturb_each_other(rows: list[Row]) -> None:
    assert read(*rows) == [read_one(row) for row in rows]
