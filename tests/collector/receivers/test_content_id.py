"""Completions → their id, and nothing else of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.receivers.content_id import content_id


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"id": "resp_1", "output": [{"id": "msg_1"}]}', "resp_1"),
        ('{"choices": [{"id": "no"}], "id": "chatcmpl-1"}', "chatcmpl-1"),
        (' \n{ "id" : "gen-1:a/b=" }', "gen-1:a/b="),
        (json.dumps('{"id": "resp_1"}'), "resp_1"),
        (json.dumps('{"output": [], "id": "resp_1"}'), "resp_1"),
        ('{"id": "resp_1", "output": [{"te', "resp_1"),
        (json.dumps('{"id": "resp_1", "output": ["x"]}')[:-9], "resp_1"),
        ('{"id": "' + "x" * 200 + '"}', "x" * 200),
        ('{"id": "' + "x" * 201 + '"}', None),
        ('{"id": "' + "x" * 201 + '", "cut', None),
        ('{"id": "resp_', None),
        ('{"output": [{"id": "msg_1"}], "cu', None),
        ('{"output": [{"id": "msg_1"}]}', None),
        ('Answer: {"id": "resp_1"}', None),
        ('[{"id": "resp_1"}]', None),
        ('{"id": 5}', None),
        ('{"id": null}', None),
        ('{"id": ""}', None),
        ('{"id": "what I told you in confidence"}', None),
        ('{"id": "what I told you", "cut', None),
        ('{"id": "größe"}', None),
        ("", None),
        ("null", None),
        ('"just text"', None),
        ('"cut text', None),
        ('{"id": ' + "[" * 99_999, None),
        ('{"id": "resp_1", "deep": ' + "[" * 99_999, "resp_1"),
    ],
)
def test_the_id_at_the_top_of_an_object_is_found(text: str, found: str | None) -> None:
    assert content_id(text) == found


@given(
    st.text() | st.builds('{{"id": "{}'.format, st.text()) | st.dictionaries(st.just("id"), st.text()).map(json.dumps)
)
def test_what_is_kept_of_any_text_is_short_and_no_prose(text: str) -> None:
    found = content_id(text)
    assert found is None or (0 < len(found) <= 200 and found.isascii() and found.isprintable() and " " not in found)


@given(st.text(alphabet="abc-_:019", min_size=1, max_size=50), st.integers(0, 200))
def test_an_id_at_the_start_survives_a_cut_anywhere_after_it(found: str, at: int) -> None:
    text = json.dumps({"id": found, "choices": ["x" * 100, {"id": "no"}], "usage": {"total_tokens": 5}})
    end = text.index(json.dumps(found)) + len(found) + 2
    assert content_id(text[: max(at, end)]) == found
