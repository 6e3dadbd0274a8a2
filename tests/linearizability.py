"""A recorded history of concurrent operations → whether some one-after-the-other order explains it.

The search of J. M. Wing and C. Gong, "Testing and Verifying Concurrent Objects" (J. Parallel Distrib.
Comput. 17, 1993), with the memory of configurations of G. Lowe, "Testing for linearizability" (Concurrency
Computat. Pract. Exper. 29, 2017), as the tool Porcupine has it. An operation takes effect at one moment
between its call and its return. One that never returned, because the server died, may have taken effect
at any moment after its call, or never.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

NEVER = float("inf")


class Operation(NamedTuple):
    """What one client asked, when, what it was answered, and when (`NEVER`: it got no answer)."""

    client: int
    called: float
    returned: float
    asked: Hashable
    answered: Hashable


Step = Callable[[Hashable, Operation], Iterable[Hashable]]
"""The sequential specification: (state, operation) → the states it may lead to; none when the answer is wrong."""


def is_linearizable(history: Iterable[Operation], step: Step, state: Hashable) -> bool:
    """Say whether the history could have happened one operation after the other, from `state` on."""
    queues = _queues(history)
    start = ((0,) * len(queues), state)
    seen, stack = {start}, [start]
    while stack:
        places, state = stack.pop()
        heads = [(n, queue[at]) for n, (queue, at) in enumerate(zip(queues, places, strict=True)) if at < len(queue)]
        if not heads:
            return True
        # What was called after another operation had returned comes after that one.
        first_return = min(operation.returned for _, operation in heads)
        for number, operation in heads:
            if operation.called <= first_return:
                moved = (*places[:number], places[number] + 1, *places[number + 1 :])
                outcomes = list(step(state, operation))
                outcomes += [state] if operation.returned == NEVER else []
                for configuration in ((moved, outcome) for outcome in outcomes):
                    if configuration not in seen:
                        seen.add(configuration)
                        stack.append(configuration)
    return False


def _queues(history: Iterable[Operation]) -> Sequence[Sequence[Operation]]:
    """The operations of each client in their order; one without an answer holds nobody up, so it stands alone."""
    clients: dict[int, list[Operation]] = {}
    alone: list[list[Operation]] = []
    for operation in sorted(history, key=lambda each: each.called):
        if operation.returned == NEVER:
            alone.append([operation])
        else:
            clients.setdefault(operation.client, []).append(operation)
    return [*clients.values(), *alone]


class Budget(NamedTuple):
    """The state of one budget: what is settled, live holds (key, amount), and the answer to each key."""

    limit: int
    settled: int = 0
    held: frozenset[tuple[str, int]] = frozenset()
    answers: frozenset[tuple[str, str]] = frozenset()
    settlements: frozenset[tuple[str, int]] = frozenset()


class Ask(NamedTuple):
    """Hold an amount; the same key gets the same answer. Answered `allow` or `deny`."""

    key: str
    amount: int


class Settle(NamedTuple):
    """The hold of this key settled at an amount; repeating changes nothing. Answered `settled`."""

    key: str
    amount: int


class Void(NamedTuple):
    """The hold of this key is not needed; repeating changes nothing. Answered `void`."""

    key: str


class Read(NamedTuple):
    """Answered (settled, held)."""


def budget_step(state: Hashable, operation: Operation) -> Iterable[Budget]:
    """The sequential specification of a budget."""
    assert isinstance(state, Budget)
    moved, answer = _applied(state, operation.asked)
    return [moved] if operation.returned == NEVER or operation.answered == answer else []


def _applied(state: Budget, asked: Hashable) -> tuple[Budget, Hashable]:
    held = dict(state.held)
    match asked:
        case Ask(key, amount):
            before = dict(state.answers).get(key)
            if before is not None:
                return state, before
            fits = state.settled + sum(held.values()) + amount <= state.limit
            answer = "allow" if fits else "deny"
            moved = state._replace(answers=state.answers | {(key, answer)})
            return (moved._replace(held=state.held | {(key, amount)}) if fits else moved), answer
        case Settle(key, amount):
            if key not in held:
                return state, "settled" if (key, amount) in state.settlements else "conflict"
            moved = state._replace(settled=state.settled + amount, settlements=state.settlements | {(key, amount)})
            return moved._replace(held=state.held - {(key, held[key])}), "settled"
        case Void(key):
            if key in held:
                return state._replace(held=state.held - {(key, held[key])}), "void"
            return state, "conflict" if key in dict(state.settlements) else "void"
        case _:
            return state, (state.settled, sum(held.values()))
