"""Which names of a bill and of the ledger are one model, and which are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.reconcile.models import Aliases


@pytest.mark.parametrize(
    ("recorded", "billed"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("gpt-4-0613", "gpt-4"),
        ("claude-haiku-4-5-20251001", "Claude Haiku 4.5"),
        ("claude-3-5-sonnet-20241022", "Claude 3.5 Sonnet 2024-10-22"),
        ("claude-3-5-haiku-20241022", "Claude Haiku 3.5"),
        ("claude-sonnet-4-20250514", "Claude Sonnet 4"),
        ("claude-3-7-sonnet-latest", "claude-3-7-sonnet-20250219"),
        ("gpt-4.1", "GPT-4.1"),
    ],
)
def test_spellings_of_one_model_are_compared_under_the_ledgers(recorded: str, billed: str) -> None:
    aliases = Aliases([recorded], [billed])
    assert aliases.of(recorded) == aliases.of(billed) == recorded


@pytest.mark.parametrize(
    ("recorded", "billed"),
    [
        ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06"),
        ("gpt-4o", "gpt-4o-mini"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o"),
        ("claude-sonnet-4-5-20250929", "Claude Sonnet 4"),
        ("claude-opus-4-1", "Claude Opus 4"),
        ("gpt-4.1", "gpt-4"),
    ],
)
def test_different_models_stay_different(recorded: str, billed: str) -> None:
    aliases = Aliases([recorded], [billed])
    assert aliases.of(recorded) == recorded
    assert aliases.of(billed) == billed


def test_dates_matter_while_both_sides_say_them_and_no_longer() -> None:
    dated = ["gpt-4o-2024-05-13", "gpt-4o-2024-08-06"]
    assert len({Aliases(dated, dated).of(name) for name in dated}) == 2
    aliases = Aliases(dated, [*dated, "gpt-4o"])
    assert {aliases.of(name) for name in (*dated, "gpt-4o")} == {"gpt-4o"}


def test_what_has_no_name_keeps_none() -> None:
    assert Aliases([], []).of(None) is None


@given(st.lists(st.text(max_size=12), max_size=6), st.lists(st.text(max_size=12), max_size=6))
def test_every_name_has_one_spelling_that_is_its_own(recorded: list[str], billed: list[str]) -> None:
    aliases = Aliases(recorded, billed)
    for name in (*recorded, *billed):
        shown = aliases.of(name)
        assert shown in (*recorded, *billed)
        assert aliases.of(shown) == shown
