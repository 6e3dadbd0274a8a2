"""A model without a price, at the decision endpoint and on the ledger row; and prices of the operator's own."""

from collections.abc import Callable

import pytest

from collector.governance.budgets import Config
from collector.pricing.config import Settings
from collector.processors.price_book import price_book
from tests.collector.control.owned import CALL, Owned, OwnerProcess
from tests.collector.processors.test_price import UNKNOWN, priced

START = Callable[..., Owned]
UNPRICED = CALL | UNKNOWN
ROW = {
    "provider": "openai",
    "model": "gpt-99-*",
    "effective_from": "2026-01-01",
    "prices": {"input": "1", "output": "2"},
    "source": "contract",
}


# What the decision answers, and what the row of such a call says.
ANSWERS = {"deny": ("deny", None), "fallback": ("allow", "0.090000000"), "allow": ("allow", None)}
ROWS = {"deny": ("unknown", None), "fallback": ("fallback", 22_500_000_000), "allow": ("unknown", None)}


@pytest.mark.parametrize("policy", ["deny", "fallback", "allow"])
def test_on_unknown_price_is_obeyed_and_the_row_says_that_the_price_is_unknown(start: START, policy: str) -> None:
    owner = start(limits={"acme": {"daily": "5"}}, budgets={"on_unknown_price": policy})
    answer = owner.post("/v1/decisions", UNPRICED).json()
    assert (answer["verdict"], (answer["hold"] or {}).get("amount_usd")) == ANSWERS[policy]
    said = {reason["rule"] for reason in answer["reasons"]}
    assert ("price.unknown" in said) is (policy != "fallback")
    (row,) = priced(UNKNOWN, book=price_book(Settings(), Config(on_unknown_price=policy)))  # type: ignore[arg-type]
    assert row["findings"] == "unknown_price"
    assert (row["pricing_basis"], row["cost_nano_usd"]) == ROWS[policy]


def test_decisions_are_quoted_at_the_overlays_prices(start: START) -> None:
    owner = start(pricing={"rows": [{"place": "prices.yaml:2", "row": ROW}]})
    assert owner.post("/v1/decisions", UNPRICED).json()["hold"]["amount_usd"] == "0.003000000"


def test_decisions_know_declared_deployments(start: START) -> None:
    deployment = {"provider": "azure.ai.openai", "name": "chat-prod", "model": "gpt-4o"}
    owner = start(pricing={"deployments": [deployment]})
    asked = CALL | {"provider": "azure.ai.openai", "model": "chat-prod"}
    assert owner.post("/v1/decisions", asked).json()["hold"]["amount_usd"] == "0.012500000"


def test_an_overlay_that_contradicts_itself_ends_the_start(prepare: Callable[..., OwnerProcess]) -> None:
    rows = [{"place": f"prices.yaml:{line}", "row": ROW} for line in (2, 7)]
    with pytest.raises(AssertionError) as failed:
        prepare(pricing={"rows": rows}).start()
    code, log = failed.value.args[0]
    assert code == 1
    assert log.startswith("Error: prices.yaml:7: this row and prices.yaml:2 ")
