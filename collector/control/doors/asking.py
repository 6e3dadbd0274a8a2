"""(key, question) → a decision, for every door that speaks another language than `/v1/decisions`."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from collector.access.keys import Credential
from collector.control.answers import Header
from collector.control.doors.agents import Judge, check_question
from schemas.control import Decision, DecisionRequest

_DECISION = msgspec.json.Decoder(Decision)


class Answered(NamedTuple):
    """A decision, and the headers that say the same."""

    decision: Decision
    headers: list[Header]


class Asker:
    """What the doors share: the owner, and how keys are checked."""

    def __init__(self, owner: Judge, authenticate: Callable[[str], Credential]) -> None:
        self.owner = owner
        self.authenticate = authenticate

    async def ask(self, key: str, question: DecisionRequest) -> Answered:
        """The durable answer to one question; raises what `Owner.decide` and the key store raise."""
        return await self.ask_as(self.authenticate(key), question)

    async def ask_as(self, credential: Credential, question: DecisionRequest) -> Answered:
        """The same, of somebody who is known already."""
        credential.path()
        check_question(question)
        answer = await self.owner.decide(credential, question)
        return Answered(_DECISION.decode(answer.body), answer.headers)
