"""Usage out of answers and streams, however their bytes are cut; never a wrong one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spanward_client.gate import usage
from spanward_client.gate.usage import StreamReader, Usage, Watch, read_body

from tests.client.provider import INPUT, OUTPUT, events

STREAMS: dict[str, list[str]] = {
    "chat": events("/chat/completions", {"model": "m", "stream_options": {"include_usage": True}}),
    "responses": events("/responses", {}),
    "anthropic": events("/messages", {}),
    "gemini": events("/models/g:streamGenerateContent", {}),
}


@pytest.mark.parametrize("name", list(STREAMS))
@given(data=st.data())
def test_a_stream_tells_its_usage_however_it_is_cut(name: str, data: st.DataObject) -> None:
    stream = "".join(STREAMS[name]).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = StreamReader()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        reader.feed(stream[start:end])
    reader.end()
    assert reader.usage == Usage(INPUT, OUTPUT)


@pytest.mark.parametrize("name", ["chat", "responses", "anthropic"])
def test_the_last_event_is_the_end_because_sdks_stop_reading_there(name: str) -> None:
    reader = StreamReader()
    reader.feed("".join(STREAMS[name]).encode())
    assert reader.usage == Usage(INPUT, OUTPUT)


@pytest.mark.parametrize("name", ["chat", "anthropic", "gemini"])
def test_a_stream_without_its_end_tells_nothing(name: str) -> None:
    reader = StreamReader()
    for event in STREAMS[name][:-1]:
        reader.feed(event.encode())
    assert reader.usage is None


@pytest.mark.parametrize(
    "counts",
    [
        {"prompt_tokens": 11, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 3}},
        {"input_tokens": 11, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 3}},
        {"input_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2, "output_tokens": 7},
        {"inputTokens": 5, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 2, "outputTokens": 7},
    ],
)
def test_cached_input_is_counted_once(counts: dict[str, Any]) -> None:
    assert read_body(json.dumps({"usage": counts}).encode()) == Usage(11, 7)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner)
    )
)
def test_an_answer_that_cannot_be_read_has_no_usage(answer: object) -> None:
    assert read_body(json.dumps({"usage": answer}).encode()) is None
    assert read_body(b"\xff" + json.dumps(answer).encode()) is None


@pytest.mark.parametrize("count", [True, -1, "11", 1.5, None])
def test_a_count_that_is_none_is_not_taken(count: object) -> None:
    assert read_body(json.dumps({"usage": {"prompt_tokens": count}}).encode()) is None


def test_an_answer_too_long_to_keep_is_left_to_its_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "JSON_BYTES_MAX", 10)
    told: list[Usage | None] = []
    watch = Watch("application/json; charset=utf-8", told.append)
    watch.feed(b'{"usage": {"prompt_tokens": 1}}')
    watch.end()
    assert told == [None]


def test_an_answer_of_another_kind_is_not_kept() -> None:
    told: list[Usage | None] = []
    watch = Watch("audio/mpeg", told.append)
    watch.feed(b"x")
    watch.end()
    assert told == [None]
