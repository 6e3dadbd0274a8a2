"""Data directory, inherited sockets and settings → a running owner. The wiring of this process.

Start order: state and limits are restored before the first question is answered. Stop order:
the door closes, running requests finish, everything recorded is committed. When the state fails,
everything that rests on it is thrown away and restored by the code of a start, again and again until
that works, while a stand-in answers. Any other fatal error ends the process.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from collector.access.bootstrap import access_path, governance_path
from collector.access.keys import Credential, KeyStore
from collector.control.commit import Committer
from collector.control.corrections import CorrectionBook
from collector.control.credentials import Credentials
from collector.control.doors.agents import AgentPages
from collector.control.doors.api import Api
from collector.control.doors.budgets import BudgetPages
from collector.control.doors.config import Config
from collector.control.doors.notices import NoticePages
from collector.control.doors.operators import OperatorPages, Operators
from collector.control.doors.request import Route
from collector.control.feedback.hub import Hub, Sources
from collector.control.feedback.pages import FeedbackPages
from collector.control.followers import GovernanceFollower, KeyFollower
from collector.control.ingest import Bell, IngestDoor, Seals
from collector.control.ingest import Parts as IngestParts
from collector.control.kill.pages import KillPages
from collector.control.kill.switch import Switch
from collector.control.outage.front import Front
from collector.control.outage.ingest_line import IngestLine
from collector.control.outage.stand_in import Kept, StandIn, refuse
from collector.control.outage.trouble import Trouble
from collector.control.owner import Limits, Owner, Parts
from collector.control.quotes import Quotes
from collector.control.repeats import Repeats
from collector.governance.budgets import Budgets
from collector.governance.budgets import Config as BudgetsConfig
from collector.governance.kills import Kills, Names
from collector.http import bind
from collector.notifications.config import Config as NotificationsConfig
from collector.notifications.outbox import NoticeOutbox
from collector.pricing.config import Settings as PricingSettings
from collector.pricing.identity import Models
from collector.processors.price_book import price_book
from collector.state.rows import Group, Keep
from collector.state.store import State, StoreFailed
from schemas.errors import Fatal, Retryable, SpanwardError

_LOG = logging.getLogger("spanward.control")
# Holds expire by the second; anything a caller can see is brought up to date when it is asked for.
_TICK_S = 0.1
_PRUNE_S = 60.0
# How long a state that failed is left alone before it is tried again.
_RETRY_S = 1.0
# Newest holds that are looked through for what calls usually use: about a second.
_SETTLED_READ = 200_000


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the parent process tells this one on its standard input."""

    control: Config = Config()
    budgets: BudgetsConfig = BudgetsConfig()
    pricing: PricingSettings = PricingSettings()
    notifications: NotificationsConfig = NotificationsConfig()
    dedupe_keys: int
    operator_token: str


class House(NamedTuple):
    """What outlives a state that fails."""

    data_dir: Path
    settings: Settings
    outside: "Outside"
    keys: KeyStore
    authenticate: Callable[[str], Credential]
    seals: Seals
    bell: Bell
    line: IngestLine
    front: Front
    stand_in: StandIn
    trouble: Trouble
    """Errors that end the process."""


class Running(NamedTuple):
    """What rests on the state."""

    parts: Parts
    owner: Owner
    corrections: CorrectionBook
    door: IngestDoor
    keys_follower: KeyFollower
    governance: GovernanceFollower
    notices: NoticeOutbox
    hub: Hub
    switch: Switch
    models: Models


class Outside(NamedTuple):
    """Connections to ingest, what ends the process, and who is told the URL once questions are answered."""

    connections: list[socket.socket]
    stop: asyncio.Event
    announce: Callable[[str], None]


async def run(data_dir: Path, settings: Settings, outside: Outside) -> None:
    """Serve until `stop` is set or ingest hangs up.

    Raises `ConfigError` for what the operator must mend, `Fatal` when memory and disk may differ.
    """
    with ExitStack() as stack:
        house = _build(data_dir, settings, outside, stack)
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(house.trouble.wait())
                listening = [tasks.create_task(_listen(house, each)) for each in outside.connections]
                await _live(house)
                for task in (watching, *listening):
                    task.cancel()
        except* SpanwardError as errors:
            raise _first(errors) from errors


def _build(data_dir: Path, settings: Settings, outside: Outside, stack: ExitStack) -> House:
    control, clock = settings.control, time.time_ns
    listener = bind(control.endpoint, setting="extensions.control.endpoint")
    stack.callback(listener.close)
    keys = KeyStore(access_path(data_dir), clock=clock)
    stack.callback(keys.close)
    authenticate = Credentials(keys.authenticate, recheck_ns=control.key_recheck.ns, clock=clock).of
    bell = Bell()
    seals = Seals(bell, now_ms=clock() // 10**6)
    kept = Kept(control.answer_ttl.ns, control.idempotency_window.ns)
    stand_in = StandIn(settings.budgets, kept, clock=clock)
    front = Front(listener, outside.announce)
    told = (seals, bell, IngestLine(), front, stand_in, Trouble())
    return House(data_dir, settings, outside, keys, authenticate, *told)


async def _listen(house: House, connection: socket.socket) -> None:
    await house.line.serve(connection)
    house.outside.stop.set()


async def _live(house: House) -> None:
    """One owner after the other: the next begins where the state of the last could not be written."""
    stop = house.outside.stop
    while not stop.is_set():
        try:
            await _own(house)
        except (StoreFailed, Retryable) as error:
            # Nobody has been told anything yet: a start says what is wrong, and the operator starts again.
            if not house.front.is_open:
                raise
            house.stand_in.take_over(error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _RETRY_S)
    house.seals.close()
    await house.front.close()


async def _own(house: House) -> None:
    """Restore, and answer until `stop`; raises `StoreFailed` once memory is ahead of the disk."""
    with ExitStack() as stack:
        state = await asyncio.to_thread(_open, house)
        stack.callback(state.close)
        running = _restore(house, state)
        try:
            async with asyncio.TaskGroup() as tasks:
                await _serve(house, running, tasks)
        except* SpanwardError as errors:
            raise _first(errors) from errors
        finally:
            house.line.shut()
            house.stand_in.heed(_durable_kills(running))
            house.front.fall_back()
            running.hub.close()
            await running.parts.committer.abandon()
            await running.notices.stop()


def _durable_kills(running: Running) -> Kills:
    """The kills on disk, whatever memory is ahead of; those in memory when the disk cannot be read either."""
    state = running.parts.state
    try:
        return Kills(running.models.identities, state.kills(), state.releases())
    except StoreFailed:
        return running.parts.kills


async def _serve(house: House, running: Running, tasks: asyncio.TaskGroup) -> None:
    committer, trouble = running.parts.committer, Trouble()

    def durable() -> None:
        running.door.committed()
        running.hub.committed()
        running.notices.wake()

    committer.on_durable = durable
    tasks.create_task(committer.run())
    # What changed while nobody looked, and what was answered, is recorded before the first question.
    await running.keys_follower.poll()
    await running.switch.mirror()
    await house.stand_in.hand_over(running.parts)
    await committer.durable()
    routes = _routes(house, running)
    stand_in = Api(_stand_in_routes(house, routes), on_fatal=house.trouble.tell)
    await house.front.show(Api(routes, on_fatal=trouble.tell), stand_in)
    house.line.open(running.door, trouble.tell)
    background = [tasks.create_task(each) for each in (trouble.wait(), *_background(house, running))]
    await house.stand_in.hand_over_rest(running.parts)
    await house.outside.stop.wait()
    house.seals.close()
    running.hub.close()
    await house.front.close()
    await running.notices.stop()
    for task in background:
        task.cancel()
    committer.stop()


def _routes(house: House, running: Running) -> list[Route]:
    """Everything the endpoint serves."""
    control, parts = house.settings.control, running.parts
    operators = Operators(house.authenticate, house.settings.operator_token)
    return [
        *AgentPages(running.owner, house.authenticate, control).routes(),
        *BudgetPages(running.owner, parts, operators, control).routes(),
        *FeedbackPages(running.hub, control).routes(),
        *KillPages(running.switch, operators, parts.committer, control).routes(),
        *OperatorPages(running.corrections, house.seals, operators, control).routes(),
        *NoticePages(running.notices, operators, control, clock=time.time_ns).routes(),
    ]


def _stand_in_routes(house: House, routes: list[Route]) -> list[Route]:
    """The same while the state cannot be written: agents are answered by the stand-in, everybody else with 503."""
    answered = AgentPages(house.stand_in, house.authenticate, house.settings.control).routes()
    pages = {(route.method, route.path): route.page for route in answered}
    return [route._replace(page=pages.get((route.method, route.path), refuse)) for route in routes]


def _open(house: House) -> State:
    state = State(house.data_dir / "state" / "state.db")
    if house.stand_in.stands_in:
        try:
            state.rewrite_log()
        except StoreFailed:
            state.close()
            raise
    return state


def _restore(house: House, state: State) -> Running:
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
    corrections = CorrectionBook(parts, owner, limits, clock=clock)
    governance = GovernanceFollower(governance_path(house.data_dir), owner, parts, clock=clock)
    governance.start()
    door = IngestDoor(IngestParts(state, budgets, committer, owner, house.seals, house.bell), clock=clock)
    hub = Hub(Sources(kills, owner, committer, house.authenticate), control.feedback)
    return Running(
        parts, owner, corrections, door, KeyFollower(house.keys, state, committer), governance,
        NoticeOutbox(settings.notifications, state, committer, clock=clock), hub,
        Switch(parts, hub, house.keys, models, clock=clock), models,
    )  # fmt: skip


def _background(house: House, running: Running) -> list[Coroutine[None, None, None]]:
    """What runs beside the endpoint."""
    parts, owner = running.parts, running.owner
    follow_s = house.settings.control.follow_interval.seconds

    async def tick() -> None:
        while owner.tick():
            await parts.committer.durable()
        await parts.committer.durable()

    async def prune() -> None:
        now = time.time_ns()
        parts.budgets.forget_windows(now)
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
    )


async def _every(seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await step()
        except Retryable as error:
            _LOG.warning("%s", error.diagnostics())


def _first(errors: BaseExceptionGroup[SpanwardError]) -> SpanwardError:
    """The error that matters: a bug before a state that failed, and both before what these two bring with them."""
    found = sorted(_leaves(errors), key=lambda error: (not isinstance(error, Fatal), isinstance(error, StoreFailed)))
    return found[0]


def _leaves(errors: BaseExceptionGroup[SpanwardError]) -> Iterator[SpanwardError]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
