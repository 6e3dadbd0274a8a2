"""Data directory, inherited sockets and settings → a running owner. The wiring of this process.

Start order: state and limits are restored before the first question is answered. Stop order:
the door closes, running requests finish, everything recorded is committed. A fatal error stops
nothing in order, because what memory says is then not to be trusted.
"""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
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
from collector.control.doors.asking import Asker
from collector.control.doors.authzen import AuthzenPages
from collector.control.doors.budgets import BudgetPages
from collector.control.doors.config import Config
from collector.control.doors.gateways.forward_auth import ForwardAuthPages
from collector.control.doors.grpc.control import ControlService
from collector.control.doors.grpc.ext_authz import ExtAuthz
from collector.control.doors.grpc.server import GrpcDoor
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
from collector.control.owner import Limits, Owner, Parts
from collector.control.quotes import Quotes
from collector.control.repeats import Repeats
from collector.governance.adherence.config import Config as AdherenceConfig
from collector.governance.adherence.judge import Adherence, Stored
from collector.governance.adherence.judge import Outside as AdherenceOutside
from collector.governance.adherence.stops import lately
from collector.governance.budgets import Budgets
from collector.governance.budgets import Config as BudgetsConfig
from collector.governance.kills import Identities, Kills, Names
from collector.http import HttpServer, address, bind
from collector.notifications.config import Config as NotificationsConfig
from collector.notifications.outbox import NoticeOutbox
from collector.pricing.config import Settings as PricingSettings
from collector.pricing.identity import Models
from collector.processors.price_book import price_book
from collector.state.rows import Group, Keep
from collector.state.store import State
from schemas.errors import Fatal, Retryable, SpanwardError

_LOG = logging.getLogger("spanward.control")
# Holds expire by the second; anything a caller can see is brought up to date when it is asked for.
_TICK_S = 0.1
_PRUNE_S = 60.0
_ADHERENCE_SINCE = "adherence_since"
# Newest holds that are looked through for what calls usually use: about a second.
_SETTLED_READ = 200_000


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the parent process tells this one on its standard input."""

    control: Config = Config()
    budgets: BudgetsConfig = BudgetsConfig()
    adherence: AdherenceConfig = AdherenceConfig()
    pricing: PricingSettings = PricingSettings()
    notifications: NotificationsConfig = NotificationsConfig()
    dedupe_keys: int
    operator_token: str


class Running(NamedTuple):
    """The parts that live as long as the process."""

    parts: Parts
    owner: Owner
    adherence: Adherence
    corrections: CorrectionBook
    keys: KeyStore
    seals: Seals
    door: IngestDoor
    keys_follower: KeyFollower
    governance: GovernanceFollower
    notices: NoticeOutbox
    hub: Hub
    switch: Switch
    authenticate: Callable[[str], Credential]


class Outside(NamedTuple):
    """Connections to ingest, what ends the process, and who is told the addresses once questions are answered."""

    connections: list[socket.socket]
    stop: asyncio.Event
    announce: Callable[[dict[str, str]], None]


async def run(data_dir: Path, settings: Settings, outside: Outside) -> None:
    """Serve until `stop` is set or ingest hangs up.

    Raises `ConfigError` for what the operator must mend, `Fatal` when memory and disk may differ.
    """
    with ExitStack() as stack:
        listener = bind(settings.control.endpoint, setting="extensions.control.endpoint")
        stack.callback(listener.close)
        running = _restore(data_dir, settings, stack)
        try:
            async with asyncio.TaskGroup() as tasks:
                await _serve(running, settings, outside, _Loop(listener, tasks))
        except* SpanwardError as errors:
            raise _first(errors) from errors


class _Loop(NamedTuple):
    """The open port, and the tasks that share one fate."""

    listener: socket.socket
    tasks: asyncio.TaskGroup


async def _serve(running: Running, settings: Settings, outside: Outside, loop: _Loop) -> None:
    committer, tasks = running.parts.committer, loop.tasks

    def durable() -> None:
        running.door.committed()
        running.hub.committed()
        running.notices.wake()

    committer.on_durable = durable
    tasks.create_task(committer.run())
    asker = Asker(running.owner, running.authenticate)
    routes = _routes(running, settings, asker)

    def on_fatal(error: Exception) -> None:
        tasks.create_task(_fail(error))

    # What changed while nobody looked is recorded before the first question is answered.
    await running.keys_follower.poll()
    await running.switch.mirror()
    await committer.durable()
    server = HttpServer(Api(routes, on_fatal=on_fatal), loop.listener)
    await server.start()
    endpoints = {"control": f"http://{address(loop.listener)}"}
    door = _grpc_door(running, asker, settings.control, on_fatal)
    if door is not None:
        endpoints["control_grpc"] = await door.start()
    background = [tasks.create_task(each) for each in _background(running, settings, outside)]
    outside.announce(endpoints)
    await outside.stop.wait()
    running.seals.close()
    running.hub.close()
    if door is not None:
        await door.stop()
    await server.stop()
    await running.notices.stop()
    for task in background:
        task.cancel()
    committer.stop()


def routes_of(data_dir: Path, settings: Settings) -> list[Route]:
    """Everything an owner of that data directory would serve, to be described and not to be served."""
    with ExitStack() as stack:
        running = _restore(data_dir, settings, stack)
        return _routes(running, settings, Asker(running.owner, running.authenticate))


def _routes(running: Running, settings: Settings, asker: Asker) -> list[Route]:
    """Everything the endpoint serves."""
    operators = Operators(running.authenticate, settings.operator_token)
    committer = running.parts.committer
    return [
        *AgentPages(running.owner, running.authenticate, settings.control).routes(),
        *BudgetPages(running.owner, running.parts, operators, settings.control).routes(),
        *FeedbackPages(running.hub, settings.control).routes(),
        *KillPages(running.switch, operators, committer, settings.control).routes(),
        *OperatorPages(running.corrections, running.seals, operators, settings.control).routes(),
        *AuthzenPages(asker, settings.control).routes(),
        *ForwardAuthPages(asker, settings.control).routes(),
        *NoticePages(running.notices, operators, settings.control, clock=time.time_ns).routes(),
    ]


def _grpc_door(
    running: Running, asker: Asker, config: Config, on_fatal: Callable[[Exception], None]
) -> GrpcDoor | None:
    if not config.grpc_endpoint:
        return None
    services = [ControlService(asker, running.hub).service(), ExtAuthz(asker).service()]
    return GrpcDoor(services, config, on_fatal=on_fatal)


def _restore(data_dir: Path, settings: Settings, stack: ExitStack) -> Running:
    """Everything as it was when the last group became durable, under the limits of now."""
    control, clock = settings.control, time.time_ns
    state = State(data_dir / "state" / "state.db")
    stack.callback(state.close)
    keys = KeyStore(access_path(data_dir), clock=clock)
    stack.callback(keys.close)
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
    governance = GovernanceFollower(governance_path(data_dir), owner, parts, clock=clock)
    governance.start()
    bell = Bell()
    seals = Seals(bell, now_ms=clock() // 10**6)
    outside = AdherenceOutside(_identities(settings), lambda: lately(kills, clock()), state.holds)
    adherence = Adherence(settings.adherence, budgets, outside)
    adherence.restore(_remembered(state, budgets, clock()))
    owner.on_decided = adherence.decided
    ingest = IngestParts(state, budgets, adherence, committer, owner, seals, bell)
    door = IngestDoor(ingest, clock=clock)
    credentials = Credentials(keys.authenticate, recheck_ns=control.key_recheck.ns, clock=clock)
    hub = Hub(Sources(kills, owner, committer, credentials.of), control.feedback)
    return Running(
        parts, owner, adherence, corrections, keys, seals, door, KeyFollower(keys, state, committer), governance,
        NoticeOutbox(settings.notifications, state, committer, clock=clock), hub,
        Switch(parts, hub, keys, models, clock=clock), credentials.of,
    )  # fmt: skip


def _background(running: Running, settings: Settings, outside: Outside) -> list[Coroutine[None, None, None]]:
    """What runs beside the endpoint."""
    parts, owner = running.parts, running.owner
    follow_s = settings.control.follow_interval.seconds

    async def ingest(connection: socket.socket) -> None:
        await running.door.serve(connection)
        outside.stop.set()

    async def tick() -> None:
        while owner.tick():
            await parts.committer.durable()
        running.adherence.tick(time.time_ns())
        await parts.committer.durable()

    async def prune() -> None:
        now = time.time_ns()
        parts.budgets.forget_windows(now)
        running.adherence.forget(now)
        parts.committer.prune(_keep(settings, parts.budgets, now))

    return [
        *(ingest(connection) for connection in outside.connections),
        _every(_TICK_S, tick),
        _every(_PRUNE_S, prune),
        _every(follow_s, running.keys_follower.poll),
        _every(follow_s, running.governance.poll),
        running.notices.run(),
        _every(follow_s, running.switch.mirror),
        _every(follow_s, running.hub.check_keys),
        _every(settings.control.feedback.budget_interval.seconds, running.hub.look),
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


async def _fail(error: Exception) -> None:
    if isinstance(error, Fatal):
        raise error
    raise Fatal(
        f"Answering a request failed: {error!r}.", fix="Start again; if it repeats, report the message."
    ) from error


def _first(errors: BaseExceptionGroup[SpanwardError]) -> SpanwardError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, SpanwardError)
    return error
