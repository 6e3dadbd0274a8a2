"""Real HTTP clients against a real owner that is killed in the middle: what they saw is one order of operations.

Complaints of others this answers: LiteLLM #34732, #26672 (parallel calls pass a check-then-increment), #34238
(a stale copy decides), #30460 (two stores that disagree), mlflow/mlflow PR#21616 (a tracker for each worker).
"""

import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.collector.control.owned import CALL, OwnerProcess
from tests.linearizability import (
    NEVER,
    Ask,
    Budget,
    Operation,
    Read,
    Settle,
    Void,
    budget_step,
    is_linearizable,
)

LIMIT = 100_000_000
CLIENTS, ROUNDS = 8, 12


class Recorder:
    """Clients of one owner, and everything they asked and saw."""

    def __init__(self, owner: OwnerProcess) -> None:
        self.owner = owner
        self.history: list[Operation] = []
        self.repeats = 0
        self._keys: list[tuple[str, int]] = []
        # One for each client: making one takes longer than a question.
        self._http = [httpx.Client(trust_env=False) for _ in range(CLIENTS)]

    def run(self, client: int) -> None:
        """One client: hold, sometimes again under the same key or another client's, then settle or void; and look."""
        chance = random.Random(client)
        for round_ in range(ROUNDS):
            key, output = f"{client}-{round_}", chance.randrange(0, 4000)
            hold = self.ask(client, key, output)
            self._keys.append((key, output))
            if chance.random() < 0.4:
                self.repeats += 1
                self.ask(client, *chance.choice(self._keys[-4:]))
            if hold is not None:
                self.resolve(client, key, hold, chance)
            self.read(client)
        self._http[client].close()

    def ask(self, client: int, key: str, output: int) -> str | None:
        question = CALL | {"max_output_tokens": output, "idempotency_key": key}
        # gpt-4o: 2.50 USD a million input tokens, 10.00 output.
        asked = Ask(key, 1000 * 2_500 + output * 10_000)
        answer = self.do(client, "POST", "/v1/decisions", question, (asked, lambda body: body["verdict"]))
        return None if answer["hold"] is None else str(answer["hold"]["id"])

    def resolve(self, client: int, key: str, hold: str, chance: random.Random) -> None:
        if chance.random() < 0.3:
            self.do(client, "POST", f"/v1/holds/{hold}/void", None, (Void(key), lambda body: body["state"]))
            return
        # Never more than was held, so that the limit binds whatever the order.
        cost = chance.randrange(0, 2_500_000)
        body = {"cost_usd": f"0.{cost:09d}"}
        for _ in range(chance.choice([1, 1, 2])):
            self.do(
                client, "POST", f"/v1/holds/{hold}/settle", body, (Settle(key, cost), lambda answer: answer["state"])
            )

    def read(self, client: int) -> None:
        def seen(body: dict[str, Any]) -> tuple[int, int]:
            (view,) = body["budgets"]
            return int(view["settled"].replace(".", "")), int(view["held"].replace(".", ""))

        self.do(client, "GET", "/v1/budgets", None, (Read(), seen))

    def do(
        self, client: int, method: str, path: str, body: object, what: tuple[Any, Callable[[dict[str, Any]], object]]
    ) -> dict[str, Any]:
        """Send until it is answered; each try that got no answer is an operation of its own that may have happened."""
        asked, read = what
        while True:
            called = time.monotonic()
            try:
                answer = self._http[client].request(
                    method, f"{self.url}{path}", json=body, headers={"x-api-key": self.owner.key}
                )
            except httpx.HTTPError as error:
                # Who found nobody there has asked nothing.
                if not isinstance(error, httpx.ConnectError):
                    self.history.append(Operation(client, called, NEVER, asked, None))
                time.sleep(0.02)
                continue
            returned = time.monotonic()
            assert answer.status_code == 200, answer.text
            told: dict[str, Any] = answer.json()
            self.history.append(Operation(client, called, returned, asked, read(told)))
            return told

    @property
    def url(self) -> str:
        """Where the owner answers now; it moves with every start."""
        return str(self.owner.http.base_url).rstrip("/")


def test_what_clients_see_over_a_kill_9_is_one_order_of_operations(prepare: Callable[..., OwnerProcess]) -> None:
    owner = prepare(limits={"acme": {"daily": "0.1"}}, budgets={"hold_size": "worst_case"}).start()
    recorder = Recorder(owner)
    clients = [threading.Thread(target=recorder.run, args=(number,)) for number in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for part in (1, 2):
        while len(recorder.history) < part * CLIENTS * ROUNDS:
            time.sleep(0.005)
        owner.kill()
        owner.start()
    for thread in clients:
        thread.join()
    history = recorder.history
    lost = [operation for operation in history if operation.returned == NEVER]
    answers = [operation.answered for operation in history]
    began = time.monotonic()
    assert is_linearizable(history, budget_step, Budget(LIMIT))
    sys.stdout.write(
        f"\n{len(history)} operations of {CLIENTS} clients, {len(lost)} without an answer, "
        f"{recorder.repeats} repeated, {answers.count('deny')} refused: an order was found in "
        f"{time.monotonic() - began:.2f} s\n"
    )
    assert lost
    assert "deny" in answers
    # The same history with one refusal turned into a permission has no order any more.
    at = next(n for n, operation in enumerate(history) if operation.answered == "deny" and _tight(history, n))
    planted = [*history[:at], history[at]._replace(answered="allow"), *history[at + 1 :]]
    assert not is_linearizable(planted, budget_step, Budget(LIMIT))


def _tight(history: list[Operation], at: int) -> bool:
    """Whether the key of a refusal was asked only once, so that no other answer contradicts a planted one by itself."""
    return sum(operation.asked == history[at].asked for operation in history) == 1
