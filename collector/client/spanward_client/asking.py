"""A question → a decision, the local kill state asked first.

What the gate and `@governed` have in common. Invariant: a fresh kill refuses without asking; a
question nobody answered is refused by the last kill that was known, whatever the fail mode.
"""

from spanward_client.ambient import async_client, sync_client
from spanward_client.decision import Decision
from spanward_client.errors import Unavailable
from spanward_client.feedback import kill_state
from spanward_client.protocol import Question
from spanward_client.settings import Settings


def ask(question: Question) -> Decision:
    """An allowing decision; raises what `check` raises, and `Killed` without asking."""
    client = sync_client()
    refuse_killed(client.settings, question)
    try:
        decision = client.check(**question)
    except Unavailable:
        _refuse_unanswered(client.settings, question)
        raise
    if not decision.judged:
        _refuse_unanswered(client.settings, question)
    return decision


async def aask(question: Question) -> Decision:
    """As `ask`, for `asyncio`."""
    client = await async_client()
    refuse_killed(client.settings, question)
    try:
        decision = await client.check(**question)
    except Unavailable:
        _refuse_unanswered(client.settings, question)
        raise
    if not decision.judged:
        _refuse_unanswered(client.settings, question)
    return decision


def refuse_killed(settings: Settings, question: Question) -> None:
    """Raises `Killed` when a fresh kill concerns the question."""
    kills = kill_state(settings)
    if kills is not None:
        kills.refuse(_by(settings, question))


def _refuse_unanswered(settings: Settings, question: Question) -> None:
    kills = kill_state(settings)
    if kills is not None:
        kills.refuse_unanswered(_by(settings, question))


def _by(settings: Settings, question: Question) -> Question:
    """The question with the agent that asks: under a tenant's key, kills name agents."""
    return question if "agent" in question else Question(**question, agent=settings.agent)
