"""A state that can be read → the owner that rests on it, and what it does beside answering."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import NamedTuple

from collector.access.bootstrap import governance_path
from collector.control.commit import Committer
from collector.control.corrections import CorrectionBook
from collector.control.feedback.hub import Hub, Sources
from collector.control.followers import GovernanceFollower, KeyFollower
from collector.control.ingest import IngestDoor
from collector.control.ingest import Parts as IngestParts
from collector.control.kill.switch import Switch
from collector.control.owner import Limits, Owner, Parts
from collector.control.quotes import Quotes
from collector.control.repeats import Repeats
from collector.control.wiring.house import House, Settings
from collector.governance.adherence.judge import Adherence, Stored
from collector.governance.adherence.judge import Outside as AdherenceOutside
from collector.governance.adherence.stops import lately
from collector.governance.budgets import Budgets
from collector.governance.kills import Identities, Kills, Names
from collector.notifications.outbox import NoticeOutbox
from collector.pricing.identity import Models
from collector.processors.price_book import price_book
from collector.state.rows import Group, Keep
from collector.state.store import State, StoreFailed
from schemas.errors import Retryable

_LOG = logging.getLogger("spanward.control")
# Holds expire by the second; anything a caller can see is brought up to date when it is asked for.
_TICK_S = 0.1
_PRUNE_S = 60.0
_ADHERENCE_SINCE = "adherence_since"
# Newest holds that are looked through for what calls usually use: about a second.
_SETTLED_READ = 200_000


class Running(NamedTuple):
    """What rests on the state."""

    parts: Parts
    owner: Owner
    adherence: Adherence
    corrections: CorrectionBook
    door: IngestDoor
    keys_follower: KeyFollower
    governance: GovernanceFollower
    notices: NoticeOutbox
    hub: Hub
    switch: Switch
    models: Models

    def durable(self) -> None:
        """A group is on disk: whoever waits for one is told."""
        self.door.committed()
        self.hub.committed()
        self.notices.wake()


def restore(house: House, state: State) -> Running:
    """Everything as it was when the last group became durable, under the limits of now."""
    settings, clock = house.settings, time.time_ns
    control = settings.control
    budgets = Budgets(settings.budgets, Group())
    budgets.restore(
        state.open_holds(), state.crossings(budgets.horizon(clock())), state.increases(), state.settled(_SETTLED_READ)
    )
    repeats = Repeats(state.decisions(), keep_ns=control.idempotency_window.ns, most=control.max_idempotency_keys)
    committer = Committer(state, budgets)
    book = price_book(settings.pricing, settings.budgets)
    models = Models(book)
    kills = Kills(models.identities, state.kills(), state.releases())
    parts = Parts(state, budgets, committer, Quotes(book, settings.budgets), repeats, kills, Names(state.named()))
    limits = Limits(control.answer_ttl.ns, control.max_outbox_events)
    owner = Owner(parts, limits, clock=clock)
    governance = GovernanceFollower(governance_path(house.data_dir), owner, parts, clock=clock)
    governance.start()
    outside = AdherenceOutside(_identities(settings), lambda: lately(kills, clock()), state.holds)
    adherence = Adherence(settings.adherence, budgets, outside)
    adherence.restore(_remembered(state, budgets, clock()))
    owner.on_decided = adherence.decided
    hub = Hub(Sources(kills, owner, committer, house.authenticate), control.feedback)
    return Running(
        parts=parts,
        owner=owner,
        adherence=adherence,
        corrections=CorrectionBook(parts, owner, limits, clock=clock),
        door=IngestDoor(IngestParts(state, budgets, adherence, committer, owner, house.seals, house.bell), clock=clock),
        keys_follower=KeyFollower(house.keys, state, committer),
        governance=governance,
        notices=NoticeOutbox(settings.notifications, state, committer, clock=clock),
        hub=hub,
        switch=Switch(parts, hub, house.keys, models, clock=clock),
        models=models,
    )


def durable_kills(running: Running) -> Kills:
    """The kills on disk, whatever memory is ahead of; those in memory when the disk cannot be read either."""
    state = running.parts.state
    try:
        return Kills(running.models.identities, state.kills(), state.releases())
    except StoreFailed:
        return running.parts.kills


def background(house: House, running: Running) -> list[Coroutine[None, None, None]]:
    """What runs beside the endpoint."""
    parts, owner = running.parts, running.owner
    follow_s = house.settings.control.follow_interval.seconds

    async def tick() -> None:
        while owner.tick():
            await parts.committer.durable()
        running.adherence.tick(time.time_ns())
        await parts.committer.durable()

    async def prune() -> None:
        now = time.time_ns()
        parts.budgets.forget_windows(now)
        running.adherence.forget(now)
        parts.committer.prune(_keep(house.settings, parts.budgets, now))

    return [
        _every(_TICK_S, tick),
        _every(_PRUNE_S, prune),
        _every(follow_s, running.keys_follower.poll),
        _every(follow_s, running.governance.poll),
        running.notices.run(),
        _every(follow_s, running.switch.mirror),
        _every(follow_s, running.hub.check_keys),
        _every(house.settings.control.feedback.budget_interval.seconds, running.hub.look),
    ]


def _keep(settings: Settings, budgets: Budgets, now: int) -> Keep:
    control = settings.control
    open_ns = settings.budgets.hold_ttl.ns + settings.budgets.span_grace.ns
    return Keep(
        spends_since=budgets.horizon(now),
        entries_since=now - max(control.entry_retention.ns, open_ns),
        decisions_since=now - control.idempotency_window.ns,
        decisions=control.max_idempotency_keys,
        dedupe_keys=settings.dedupe_keys,
        rulings=settings.adherence.max_rulings,
        askers_since=now - settings.adherence.asked_within.ns,
        findings=settings.adherence.max_findings,
    )


def _identities(settings: Settings) -> Identities:
    """The ids of models for whoever is not the loop, too."""
    models, lock = Models(price_book(settings.pricing, settings.budgets)), threading.Lock()

    def identities(provider: str, model: str) -> frozenset[str]:
        with lock:
            return models.identities(provider, model)

    return identities


def _remembered(state: State, budgets: Budgets, now: int) -> Stored:
    """What adherence stored; the first start notes when it began to."""
    since = state.meta(_ADHERENCE_SINCE)
    if since is None:
        since = budgets.group.meta[_ADHERENCE_SINCE] = str(now).encode()
    return Stored(int(since), state.rulings(), state.askers(), state.findings())


async def _every(seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await step()
        except Retryable as error:
            _LOG.warning("%s", error.diagnostics())
