"""The checker accepts what can be put in an order and rejects what cannot, above all a check-then-spend budget."""

import threading
import time

import pytest

from tests.linearizability import NEVER, Ask, Budget, Operation, Read, Settle, Void, budget_step, is_linearizable

LIMIT = Budget(100)


def op(client: int, times: tuple[float, float], asked: object, answered: object = None) -> Operation:
    return Operation(client, *times, asked, answered)


GOOD = {
    "two that overlap, one refused": [
        op(1, (0, 10), Ask("a", 60), "allow"), op(2, (1, 9), Ask("b", 60), "deny"),
    ],
    "the later call may come first": [
        op(1, (0, 10), Ask("a", 60), "deny"), op(2, (1, 9), Ask("b", 60), "allow"),
    ],
    "a settlement makes room": [
        op(1, (0, 1), Ask("a", 100), "allow"), op(1, (2, 3), Settle("a", 40), "settled"),
        op(2, (4, 5), Ask("b", 60), "allow"), op(2, (6, 7), Read(), (40, 60)),
    ],
    "a repeated key": [
        op(1, (0, 9), Ask("a", 60), "allow"), op(2, (0, 9), Ask("a", 60), "allow"), op(2, (10, 11), Read(), (0, 60)),
    ],
    "what got no answer took effect": [
        op(1, (0, NEVER), Ask("a", 60)), op(2, (5, 6), Ask("b", 60), "deny"),
    ],
    "what got no answer did not": [
        op(1, (0, NEVER), Ask("a", 60)), op(2, (5, 6), Ask("b", 60), "allow"),
    ],
    "or did so later": [
        op(1, (0, NEVER), Ask("a", 60)), op(2, (5, 6), Read(), (0, 0)), op(2, (7, 8), Read(), (0, 60)),
    ],
}  # fmt: skip
BAD = {
    "check-then-spend: both saw the room": [
        op(1, (0, 10), Ask("a", 60), "allow"), op(2, (1, 9), Ask("b", 60), "allow"),
    ],
    "refused although there is room": [
        op(1, (0, 1), Ask("a", 60), "allow"), op(1, (2, 3), Void("a"), "void"), op(2, (4, 5), Ask("b", 60), "deny"),
    ],
    "a stale read": [op(1, (0, 1), Ask("a", 60), "allow"), op(2, (2, 3), Read(), (0, 0))],
    "a repeated key held twice": [
        op(1, (0, 1), Ask("a", 40), "allow"), op(1, (2, 3), Ask("a", 40), "allow"), op(2, (4, 5), Read(), (0, 80)),
    ],
    "an acknowledged hold that a crash lost": [
        op(1, (0, 1), Ask("a", 60), "allow"), op(2, (2, NEVER), Ask("b", 1)), op(3, (4, 5), Ask("c", 60), "allow"),
    ],
    "a settlement counted twice": [
        op(1, (0, 1), Ask("a", 50), "allow"), op(1, (2, 3), Settle("a", 50), "settled"),
        op(1, (4, 5), Settle("a", 50), "settled"), op(1, (6, 7), Read(), (100, 0)),
    ],
}  # fmt: skip


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_a_history_with_an_order_is_accepted(history: list[Operation]) -> None:
    assert is_linearizable(history, budget_step, LIMIT)


@pytest.mark.parametrize("history", BAD.values(), ids=BAD)
def test_a_history_without_an_order_is_rejected(history: list[Operation]) -> None:
    assert not is_linearizable(history, budget_step, LIMIT)


class CheckThenSpend:
    """What LiteLLM #34732 describes: room is looked up, the call is made, then the spend is added."""

    def __init__(self, limit: int, everybody: threading.Barrier) -> None:
        self.limit, self.spent = limit, 0
        self._everybody = everybody

    def ask(self, amount: int) -> str:
        fits = self.spent + amount <= self.limit
        self._everybody.wait()
        if fits:
            self.spent += amount
        return "allow" if fits else "deny"


def test_a_recorded_history_of_a_check_then_spend_budget_is_rejected() -> None:
    everybody = threading.Barrier(4)
    budget, history = CheckThenSpend(100, everybody), list[Operation]()

    def client(number: int) -> None:
        called = time.monotonic()
        answer = budget.ask(60)
        history.append(Operation(number, called, time.monotonic(), Ask(str(number), 60), answer))

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert budget.spent > budget.limit
    assert not is_linearizable(history, budget_step, LIMIT)
