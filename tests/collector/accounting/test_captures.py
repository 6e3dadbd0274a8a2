"""What is booked for real emitters is what their provider billed, call for call, token for token."""

from collections import Counter

import pytest

from schemas.accounting import Role
from tests.captures_on_disk import emitters, truth
from tests.collector.dialects.expected import EXPECTED
from tests.dialect_matrix import NO_CALLS, README, booked, document, effective, gaps, line

CALLS = [emitter for emitter in emitters() if emitter != NO_CALLS]
# It calls a refused request a success, so that one is listed as unmetered too.
REFUSED_TOLD_AS_SUCCESS = {"platform-langsmith": 1}
# Nano-USD that are booked too little or too much because something is not told: how long the cache is
# kept, cached tokens, the priority tier.
COST_OF_GAPS = {
    "anthropic-legacy-openinference": -13_524_300,
    "anthropic-legacy-openllmetry": -2_283_750,
    "anthropic-official-nosdk": -3_429_000,
    "openai-legacy-openinference": -35_100,
    "openai-legacy-openllmetry": -35_100,
    "openai-openinference": -35_100,
    "openai-v2-default": 576_000,
    "openai-v2-latest": 576_000,
}
_CLASSES = {
    "input_tokens": ("input_total",),
    "cache_read_tokens": ("cache_read",),
    "cache_write_tokens": ("cache_write_5m", "cache_write_1h"),
    "cache_write_1h_tokens": ("cache_write_1h",),
    "output_tokens": ("output",),
    "reasoning_tokens": ("reasoning",),
}


@pytest.mark.parametrize("emitter", CALLS)
def test_every_call_is_booked_once_or_listed_as_unmetered(emitter: str) -> None:
    found, expected = line(emitter), EXPECTED[emitter]
    refused = REFUSED_TOLD_AS_SUCCESS.get(emitter, 0)
    assert found.unmetered == len(expected.unmetered) + refused
    assert found.booked == found.billed - len(expected.unmetered) - len(expected.unseen)


@pytest.mark.parametrize("emitter", CALLS)
def test_the_tokens_of_each_model_are_the_providers(emitter: str) -> None:
    expected = EXPECTED[emitter]
    billed: dict[str, Counter[str]] = {}
    for call in truth(emitter)["calls"]:
        if call["billed"] and call["n"] not in {*expected.unmetered, *expected.unseen}:
            tokens = {name: sum(call["tokens"][part] for part in parts) for name, parts in _CLASSES.items()}
            # A wrong count is put right only where another record of the call is merged with it.
            tokens |= {} if line(emitter).merged else expected.said.get(call["n"], {})
            billed.setdefault(_undated(call["response_model"]), Counter()).update(tokens)
    told: dict[str, Counter[str]] = {}
    for row in effective(booked(emitter)):
        if row["metered"]:
            told.setdefault(_undated(row["model"]), Counter()).update({name: row[name] or 0 for name in _CLASSES})
    for model, sums in billed.items():
        for name, count in sums.items():
            assert told[model][name] == count or (name in expected.silent and told[model][name] < count), (model, name)
    assert told.keys() == billed.keys()


@pytest.mark.parametrize("emitter", CALLS)
def test_the_cost_is_the_providers_but_for_what_the_emitter_leaves_out(emitter: str) -> None:
    found = line(emitter)
    assert found.cost - found.fair == COST_OF_GAPS.get(emitter, 0)
    assert bool(gaps(found)) >= (emitter in COST_OF_GAPS)


@pytest.mark.parametrize("emitter", CALLS)
def test_a_model_that_is_metered_has_a_price(emitter: str) -> None:
    assert not [row["model"] for row in effective(booked(emitter)) if row["metered"] and row["cost_nano_usd"] is None]


@pytest.mark.parametrize("emitter", [emitter for emitter in CALLS if emitter.startswith("double-")])
def test_what_two_instrumentations_tell_is_booked_once_with_the_agents_name(emitter: str) -> None:
    counted = [row for row in effective(booked(emitter)) if row["accounting_role"] == Role.CALL]
    assert sum(row["call_count"] for row in counted) == line(emitter).billed
    by_agent = Counter(row["claimed_agent"] for row in counted)
    assert by_agent["weather_agent"] == 2
    assert None not in by_agent


def test_the_table_in_the_readme_is_what_the_captures_give() -> None:
    assert README.read_text() == document(README.read_text())


def _undated(model: str) -> str:
    """A model by the name it is asked for: some emitters never tell which snapshot answered."""
    return model.partition("-20")[0]
