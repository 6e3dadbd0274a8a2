"""Changes of the state → events to every client they concern; acknowledgements → how far they came.

A client's first event is the whole state, or, when it resumes after an event of this very process,
what changed since. Events of one kind carry the state of now and not the difference, so none can be
missed by coming late. Invariant: nothing is pushed before it is durable; a key that is revoked or
expires ends its streams within `follow_interval`; nobody is told of kills or budgets of others.

The hot path pays nothing: budgets are looked at once an interval, only after something was committed.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from collector.access.keys import Credential
from collector.control.commit import Committer
from collector.control.feedback.acks import ClientId, Propagation
from collector.control.feedback.config import Config
from collector.control.feedback.stream import ENCODE, Event, Subscription
from collector.control.owner import Owner
from collector.governance.kills import Kills, view
from schemas.control import BudgetView
from schemas.errors import Permanent, Retryable, Unauthenticated
from schemas.kills import (
    Ack,
    Acks,
    BudgetsEvent,
    DrillEvent,
    KeyEvent,
    Kill,
    KillsEvent,
    PolicyEvent,
    Snapshot,
    concerns,
)

MAX_CLIENT_CHARS = 128
# Agents whose last client has left and whose budgets are still compared with what it saw.
MAX_EMPTY = 1_000
# Measurements that are remembered; all of them are in the ledger.
MAX_REMEMBERED = 100

_BudgetKey = tuple[str, str, str]
"""Scope, window and unit."""


class Sources(NamedTuple):
    """What the hub tells of."""

    kills: Kills
    owner: Owner
    committer: Committer
    authenticate: Callable[[str], Credential]


class _Audience:
    """Clients that may see the same: those of one agent, tenant, or of all administrators."""

    def __init__(self, credential: Credential) -> None:
        self.credential = credential
        self.speaks_for = _speaks_for(credential)
        self.members: set[Subscription] = set()
        self.budgets: dict[_BudgetKey, BudgetView] = {}
        self.changed: dict[_BudgetKey, int] = {}
        """Number of the event that last told of each budget."""


class Hub:
    """Everybody who listens. Owned by the loop."""

    def __init__(self, sources: Sources, config: Config) -> None:
        self._kills, self._owner, self._committer, self._authenticate = sources
        self._config = config
        # Numbers mean something within one process only.
        self._boot = secrets.token_hex(6)
        self._seq = 0
        self._kills_seq = self._policy_seq = 0
        self._policy = self._owner.policy_digest
        self._audiences: dict[str, _Audience] = {}
        self._empty: dict[str, None] = {}
        """Audiences without a client, in the order their last one left."""
        self._clients = 0
        self._pending: deque[tuple[int, str, Propagation]] = deque(maxlen=MAX_REMEMBERED)
        self._dirty = False
        self._closed = False

    # Clients -------------------------------------------------------------------------------------

    async def subscribe(self, key: str, client: str, last_id: str = "") -> Subscription:
        """The events of a client of this key, from the state of now on, or from behind event `last_id`.

        Raises `Unauthenticated`, `Permanent` for a name that is none, `Retryable` when too many listen.
        """
        credential = self._authenticate(key)
        who = _client_id(credential, client)
        if self._closed:
            raise Retryable("The collector is shutting down.", fix="Connect again.")
        if self._clients >= self._config.max_clients:
            raise Retryable(
                f"More than extensions.control.feedback.max_clients ({self._config.max_clients}) clients listen.",
                fix="Raise it, or poll GET /v1/feedback/state.",
                overloaded=True,
            )
        audience = self._audiences.get(who.speaks_for)
        if audience is None:
            audience = self._audiences[who.speaks_for] = _Audience(credential)
        if not audience.members:
            self._empty.pop(who.speaks_for, None)
            self._look(audience)
        subscription = Subscription(who, credential, key, self._leave)
        audience.members.add(subscription)
        self._clients += 1
        for event in self._first(audience, last_id):
            subscription.push(event, self._config.max_queue)
        await self._committer.durable()
        return subscription

    async def state(self, key: str) -> Snapshot:
        """What a client without a stream asks for."""
        credential = self._authenticate(key)
        snapshot = self._snapshot(credential, self._owner.views(credential))
        await self._committer.durable()
        return snapshot

    def ack(self, key: str, ack: Ack) -> int:
        """A client acts by the state of this epoch; the epoch. Raises `Permanent` for one that is yet to come."""
        who = _client_id(self._authenticate(key), ack.client)
        if not 0 <= ack.epoch <= self._kills.epoch:
            raise Permanent(
                f"`$.epoch` is {ack.epoch}, and the newest is {self._kills.epoch}.",
                fix="Acknowledge what you were told.",
            )
        now = time.monotonic_ns()
        for epoch, drill_id, propagation in self._pending:
            if (drill_id and drill_id == ack.drill_id) or (not drill_id and epoch <= ack.epoch):
                propagation.ack(who, now)
        return ack.epoch

    # What happened -------------------------------------------------------------------------------

    def push_kills(self, started_ns: int, done: Callable[[Acks], None]) -> Propagation:
        """The kill state changed and is durable: tell everybody. `started_ns` is monotonic; `done` is told once."""
        event_id = self._next()
        self._kills_seq = self._seq
        for audience in self._audiences.values():
            self._send(audience, Event(event_id, "kills", ENCODE(self._kills_event(audience.speaks_for))))
        return self._measure("", started_ns, done)

    def push_drill(self, drill_id: str, started_ns: int, done: Callable[[Acks], None]) -> Propagation:
        """Ask everybody to acknowledge a drill."""
        event = Event(self._next(), "drill", ENCODE(DrillEvent(drill_id)))
        for audience in self._audiences.values():
            self._send(audience, event)
        return self._measure(drill_id, started_ns, done)

    def committed(self) -> None:
        """A group is durable: budgets may have changed."""
        self._dirty = True

    async def look(self) -> None:
        """Tell of budgets and of a policy that changed since the last look."""
        if self._policy != self._owner.policy_digest:
            self._policy = self._owner.policy_digest
            event = Event(self._next(), "policy", ENCODE(PolicyEvent(self._policy)))
            self._policy_seq = self._seq
            for audience in self._audiences.values():
                self._send(audience, event)
        if not self._dirty:
            return
        self._dirty = False
        for audience in tuple(self._audiences.values()):
            if audience.members:
                await self._tell_budgets(audience)
                # Questions of agents come in between.
                await asyncio.sleep(0)

    async def check_keys(self) -> None:
        """End the streams of keys that are not good any more."""
        checked: dict[str, bool] = {}
        for subscription in [each for audience in self._audiences.values() for each in audience.members]:
            good = checked.get(subscription.key)
            if good is None:
                good = checked[subscription.key] = self._good(subscription.key)
                if len(checked) % 64 == 0:
                    await asyncio.sleep(0)
            if not good:
                self._end_key(subscription)

    def close(self) -> None:
        """The collector stops: end every stream, and wait for no acknowledgement."""
        self._closed = True
        event_id = self._next()
        for audience in tuple(self._audiences.values()):
            for subscription in tuple(audience.members):
                subscription.end("shutdown", "The collector stops. Connect again.", event_id)
        for _, _, propagation in self._pending:
            propagation.finish()

    def _next(self) -> str:
        self._seq += 1
        return self._id()

    def _id(self) -> str:
        return f"{self._boot}-{self._seq}"

    def _send(self, audience: _Audience, event: Event) -> None:
        # A slow consumer leaves while it is told.
        for subscription in tuple(audience.members):
            subscription.push(event, self._config.max_queue)

    def _leave(self, subscription: Subscription) -> None:
        audience = self._audiences.get(subscription.who.speaks_for)
        if audience is None or subscription not in audience.members:
            return
        audience.members.remove(subscription)
        self._clients -= 1
        # Those without a client are kept for the one that comes back, the newest of them.
        if not audience.members:
            self._empty[audience.speaks_for] = None
            if len(self._empty) > MAX_EMPTY:
                oldest = next(iter(self._empty))
                del self._empty[oldest], self._audiences[oldest]

    def _measure(self, drill_id: str, started_ns: int, done: Callable[[Acks], None]) -> Propagation:
        clients = {member.who for audience in self._audiences.values() for member in audience.members}
        propagation = Propagation(clients, started_ns, done)
        self._pending.append((self._kills.epoch, drill_id, propagation))
        if clients:
            asyncio.get_running_loop().call_later(self._config.ack_wait.seconds, propagation.finish)
        else:
            propagation.finish()
        return propagation

    # What is told --------------------------------------------------------------------------------

    def _first(self, audience: _Audience, last_id: str) -> list[Event]:
        boot, _, number = last_id.rpartition("-")
        resumes = boot == self._boot and number.isascii() and number.isdigit() and int(number) <= self._seq
        if not resumes:
            snapshot = self._snapshot(audience.credential, list(audience.budgets.values()))
            return [Event(self._id(), "snapshot", ENCODE(snapshot))]
        seen = int(number)
        told = [
            (self._kills_seq > seen, "kills", self._kills_event(audience.speaks_for)),
            (self._policy_seq > seen, "policy", PolicyEvent(self._policy)),
        ]
        budgets = [view for key, view in audience.budgets.items() if audience.changed[key] > seen]
        told.append((bool(budgets), "budgets", BudgetsEvent(budgets)))
        return [Event(self._id(), name, ENCODE(message)) for changed, name, message in told if changed]

    def _snapshot(self, credential: Credential, budgets: list[BudgetView]) -> Snapshot:
        kills = self._concerning(_speaks_for(credential))
        return Snapshot(self._kills.epoch, kills, self._owner.policy_digest, budgets)

    def _kills_event(self, speaks_for: str) -> KillsEvent:
        return KillsEvent(self._kills.epoch, self._concerning(speaks_for))

    def _concerning(self, speaks_for: str) -> list[Kill]:
        return [view(row) for row in self._kills.in_force if concerns(row.target, speaks_for)]

    def _look(self, audience: _Audience) -> list[BudgetView]:
        """The budgets that changed since the last look."""
        views = self._owner.views(audience.credential)
        now: dict[_BudgetKey, BudgetView] = {(each.scope, each.window, each.unit): each for each in views}
        changed = [key for key, each in now.items() if audience.budgets.get(key) != each]
        if changed:
            self._next()
        audience.budgets = now
        audience.changed = {key: audience.changed.get(key, 0) for key in now} | dict.fromkeys(changed, self._seq)
        return [now[key] for key in changed]

    async def _tell_budgets(self, audience: _Audience) -> None:
        changed = self._look(audience)
        if changed:
            # What was looked at may be on its way to the disk only.
            event_id = self._id()
            await self._committer.durable()
            self._send(audience, Event(event_id, "budgets", ENCODE(BudgetsEvent(changed))))

    def _good(self, key: str) -> bool:
        try:
            self._authenticate(key)
        except Unauthenticated:
            return False
        return True

    def _end_key(self, subscription: Subscription) -> None:
        credential, event_id = subscription.credential, self._next()
        expired = credential.expires_ns is not None and time.time_ns() >= credential.expires_ns
        event = KeyEvent(credential.id, "expired" if expired else "revoked")
        subscription.push(Event(event_id, "key", ENCODE(event)), self._config.max_queue)
        subscription.end("key", f"Key {credential.id} is not good any more.", event_id)


def _client_id(credential: Credential, client: str) -> ClientId:
    if not client.strip() or not client.isprintable() or len(client) > MAX_CLIENT_CHARS:
        raise Permanent(
            "A client says which one it is.",
            fix=f"Give `client` 1 to {MAX_CLIENT_CHARS} printable characters that no other client of the key uses.",
        )
    return ClientId(credential.id, client, _speaks_for(credential))


def _speaks_for(credential: Credential) -> str:
    return "" if credential.kind == "admin" else str(credential.path())
