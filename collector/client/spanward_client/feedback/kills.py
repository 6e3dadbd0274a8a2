"""Kills in force and how fresh that knowledge is → whether an action is refused without asking.

Invariant: a kill that is freshly known always refuses, whatever the fail mode; stale knowledge alone
refuses nothing, because a release may have been missed: then the server is asked, and only when
it does not answer either does the last known kill refuse. Following the server is left to `feedback`.
"""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from spanward_client.decision import Decision, Malformed, Reason
from spanward_client.errors import Killed
from spanward_client.holding import CALL_ACTION
from spanward_client.protocol import Question

STATE_TTL_S = 20.0
"""How long a state is fresh without a word from the server, which says something at least every 15 s."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill as the server tells it."""

    id: str
    scope: str
    target: str
    reason: str
    actor: str
    since: str

    @property
    def rule(self) -> str:
        """Id of the rule, as the server's own refusal has it."""
        return f"kill.{self.scope}.{self.target}"

    def concerns(self, question: Question) -> bool:
        """True when it forbids this action of this agent.

        The server sends only kills that concern the key; under a tenant's key the agent is told apart here.
        Models are compared as they are written: another spelling is left to the server.
        """
        if self.scope == "new_keys" or (self.scope == "llm" and question.get("action", CALL_ACTION) != CALL_ACTION):
            return False
        kind, colon, name = self.target.partition(":")
        if colon:
            return bool(name) and name == (question.get("model") if kind == "model" else question.get("tool"))
        parts = self.target.split("/")
        agent = question.get("agent")
        return len(parts) < 3 or not agent or parts[2] == agent

    def refusal(self) -> Killed:
        """The exception, with who, why and since when."""
        reason = Reason(
            rule=self.rule,
            message=f"{self.actor} stopped {self.target} ({self.scope}) at {self.since}: {self.reason.rstrip('.')}.",
            fix=f"It stays stopped until somebody runs `spanward kill release {self.id} --data DIR --reason TEXT`.",
        )
        return Killed(Decision("", "deny", (reason,), None, (), 0, datetime.now(UTC)))


class KillState:
    """What this process knows. Written by the follower's thread, read by everybody."""

    def __init__(self) -> None:
        self.epoch = -1
        self._kills: tuple[Kill, ...] = ()
        self._heard_at = float("-inf")
        self._heard = threading.Condition()

    @property
    def fresh(self) -> bool:
        """True while the server has said something within `STATE_TTL_S`."""
        return time.monotonic() - self._heard_at < STATE_TTL_S

    def hear(self) -> None:
        """The server said something: what is known still holds."""
        self._heard_at = time.monotonic()

    def learn(self, data: str) -> int:
        """Take the JSON of `snapshot` or `kills`; returns its epoch. Raises `Malformed`."""
        kills, epoch = read_kills(data)
        with self._heard:
            self._kills, self.epoch = kills, epoch
            self.hear()
            self._heard.notify_all()
        return epoch

    def wait_until(self, epoch: int, timeout_s: float) -> bool:
        """Block until that epoch is known; false when it is not in time."""
        with self._heard:
            return self._heard.wait_for(lambda: self.epoch >= epoch, timeout_s)

    def refuse(self, question: Question) -> None:
        """Raises `Killed` when a fresh kill concerns the question."""
        if self._kills and self.fresh:
            self.refuse_unanswered(question)

    def refuse_unanswered(self, question: Question) -> None:
        """Raises `Killed` when the last known kill does; for a question that the server did not answer."""
        for kill in self._kills:
            if kill.concerns(question):
                raise kill.refusal()


def read_kills(data: str) -> tuple[tuple[Kill, ...], int]:
    """Kills and epoch of an event's data; raises `Malformed`."""
    try:
        told = json.loads(data)
    except ValueError as error:
        raise Malformed(f"it is not JSON: {error}") from error
    kills = told.get("kills") if isinstance(told, dict) else None
    if not isinstance(kills, list) or not isinstance(told.get("epoch"), int):
        raise Malformed("it has no kills or no epoch")
    return tuple(_kill(item) for item in kills), told["epoch"]


def _kill(item: object) -> Kill:
    if not isinstance(item, Mapping):
        raise Malformed("a kill is not an object")
    words = [item.get(name, "") for name in ("id", "scope", "target", "reason", "actor", "since")]
    return Kill(*(word if isinstance(word, str) else str(word) for word in words))
