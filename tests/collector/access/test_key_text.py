"""Key texts in, their parts or the reason why not out."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.access.key_text import KEY_PATTERN, Kind, new_key_text, parse_key_text
from schemas.errors import Unauthenticated
from tests.collector.access.conftest import PATIENT


@pytest.mark.parametrize("kind", ["agent", "tenant", "admin"])
def test_new_key_has_the_published_form_and_parses_to_its_id(kind: Kind) -> None:
    text, credential_id = new_key_text(kind)
    assert re.fullmatch(rf"spw_{kind}_[a-z2-7]{{12}}_[0-9A-Za-z]{{43}}_[0-9A-Za-z]{{6}}", text)
    assert (parse_key_text(text).kind, parse_key_text(text).id) == (kind, credential_id)


def test_new_keys_differ_in_id_and_secret() -> None:
    parts = [new_key_text("agent")[0].split("_") for _ in range(200)]
    assert len({id_ for _, _, id_, _, _ in parts}) == len({secret for _, _, _, secret, _ in parts}) == 200


def test_every_wrong_character_is_told_apart_from_an_unknown_key() -> None:
    text, _ = new_key_text("agent")
    for position, right in enumerate(text):
        wrong = "x" if right != "x" else "y"
        with pytest.raises(Unauthenticated, match=r"malformed|checksum"):
            parse_key_text(text[:position] + wrong + text[position + 1 :])


@settings(PATIENT)
@given(st.data())
def test_two_exchanged_characters_are_a_wrong_checksum(data: st.DataObject) -> None:
    text, _ = new_key_text("agent")
    position = data.draw(st.integers(len("spw_agent_"), len(text) - 2))
    pair = text[position : position + 2]
    exchanged = text[:position] + pair[::-1] + text[position + 2 :]
    if exchanged == text:
        assert parse_key_text(exchanged)
    else:
        with pytest.raises(Unauthenticated, match=r"malformed|checksum"):
            parse_key_text(exchanged)


@settings(PATIENT)
@given(st.text() | st.from_regex(KEY_PATTERN, fullmatch=True))
def test_any_other_text_is_malformed_or_has_a_wrong_checksum(text: str) -> None:
    with pytest.raises(Unauthenticated, match=r"malformed|checksum|No key"):
        parse_key_text(text)


@pytest.mark.parametrize(
    "change", [str.upper, lambda text: text + "\n", lambda text: f" {text}", lambda text: text[:-1]]
)
def test_pasted_with_a_flaw_is_refused(change: Callable[[str], str]) -> None:
    text, _ = new_key_text("admin")
    with pytest.raises(Unauthenticated):
        parse_key_text(change(text))
