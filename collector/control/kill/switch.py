"""Kills, releases and drills of operators → in force, durable, mirrored to the keys, pushed to every client.

In force in memory at once, told to nobody before it is durable. One order after the other: what is
pushed is what is on disk. Invariant: an order that was answered survives anything; one that could
not be made durable is an error and no answer. Kills of new keys are mirrored into the key database,
and again until that succeeds.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from collector.access.first_use import Stop
from collector.access.keys import KeyStore
from collector.control.feedback.acks import Propagation
from collector.control.feedback.hub import MAX_REMEMBERED, Hub
from collector.control.owner import NotFound, Parts
from collector.governance import entries
from collector.governance.kills import (
    KILL_PREFIX,
    Order,
    Target,
    kill_entry,
    kill_message,
    view,
)
from collector.governance.notices import kill_notice, release_notice
from collector.governance.windows import utc_text
from collector.pricing.identity import Models
from collector.state.rows import KillRow, Row
from schemas.errors import Permanent
from schemas.ids import check_reason, new_id
from schemas.kills import Acks, Drill, Kill, KillList, KillRequest, KillStatus, Released, concerns
from schemas.tables import EntryKind

_LOG = logging.getLogger("spanward.control")
_DRILL_PREFIX = "drill_"
_FEEDBACK = "system:feedback"


class Unmatched(Permanent):
    """The target names nothing that is known here."""


class _Drill(NamedTuple):
    id: str
    reason: str
    actor: str
    since_ns: int
    propagation: Propagation


class Switch:
    """The kill switch. Owned by the loop; `_turn` lets one order after the other through."""

    def __init__(self, parts: Parts, hub: Hub, keys: KeyStore, models: Models, *, clock: Callable[[], int]) -> None:
        self._budgets, self._committer = parts.budgets, parts.committer
        self._kills, self._names = parts.kills, parts.names
        self._hub = hub
        self._keys = keys
        self._models = models
        self._clock = clock
        self._turn = asyncio.Lock()
        self._propagations: dict[str, Propagation] = {}
        self._drills: OrderedDict[str, _Drill] = OrderedDict()
        self._mirrored: list[tuple[str, str]] | None = None

    async def kill(self, request: KillRequest, *, actor: str) -> Kill:
        """Stop it; durable and pushed when this returns. What is killed already is returned as it is.

        Raises `Unmatched` for a target nobody has heard of, `Permanent` for an order that can stop nothing.
        """
        started_ns = time.monotonic_ns()
        order = Order(request.scope, Target.parse(request.target), request.reason, actor)
        if not request.allow_unmatched and not self._matches(order.target):
            raise Unmatched(
                f"A kill of {order.target} matches nothing: no governance file, key, spend or decision ever named it.",
                fix='Check the spelling; to stop it before its first use, add --unmatched (`"allow_unmatched": true`).',
            )
        async with self._turn:
            row, new = self._kills.kill(order, new_id(KILL_PREFIX), self._clock())
            message = kill_message(row) if new else f"{actor} killed {row.target} again; it was stopped already."
            self._record("kill", row, actor, "in_force" if new else "unchanged", message)
            if new:
                self._committer.group.kills.append(row)
                self._committer.group.notify(kill_notice(row, message))
            await self._publish(row, "kill", started_ns, new=new)
        return view(row)

    async def release(self, kill_id: str, *, reason: str, actor: str) -> Released:
        """End a kill; a repetition changes nothing. Raises `NotFound` when there never was such a kill."""
        started_ns = time.monotonic_ns()
        async with self._turn:
            found = self._kills.release(kill_id, reason=reason, actor=actor, now_ns=self._clock())
            if found is None:
                raise NotFound(f"There is no kill {kill_id!r}.", fix="See the ids with: spanward kill list --data DIR.")
            row, release, new = found
            message = f"{actor} released the kill of {row.target}: {reason}"
            self._record("kill.release", row, actor, "released" if new else "unchanged", message)
            if new:
                self._committer.group.releases.append(release)
                self._committer.group.notify(release_notice(row, message, release.recorded_time))
            await self._publish(row, "kill.release", started_ns, new=new)
        released_at = utc_text(release.recorded_time)
        return Released(view(row), release.reason, release.actor, released_at, release.epoch)

    def listed(self) -> KillList:
        """Every kill in force; to be told only once that is durable."""
        statuses = []
        for row in self._kills.in_force:
            propagation = self._propagations.get(row.id)
            statuses.append(KillStatus(view(row), None if propagation is None else propagation.acks()))
        return KillList(self._kills.epoch, statuses)

    async def drill(self, *, reason: str, actor: str) -> Drill:
        """Ask every connected client to acknowledge, and stop nobody."""
        started_ns = time.monotonic_ns()
        check_reason(reason, "A drill")
        drill_id, now = new_id(_DRILL_PREFIX), self._clock()
        row = self._drill_entry("kill.drill", drill_id, actor, f"{actor} drills the kill switch: {reason}")
        self._committer.group.event(row)
        async with self._turn:
            await self._committer.durable()

            def done(acks: Acks) -> None:
                entry = self._drill_entry("kill.propagation", drill_id, _FEEDBACK, _summary("The drill", acks))
                self._report(entry, drill_id, acks)

            propagation = self._hub.push_drill(drill_id, started_ns, done)
        self._drills[drill_id] = _Drill(drill_id, reason, actor, now, propagation)
        while len(self._drills) > MAX_REMEMBERED:
            self._drills.popitem(last=False)
        return self.drilled(drill_id)

    def drilled(self, drill_id: str) -> Drill:
        """A drill as it stands; raises `NotFound` for one of before the last start."""
        drill = self._drills.get(drill_id)
        if drill is None:
            raise NotFound(
                f"There is no drill {drill_id!r} since the last start.", fix="Its result is in the ledger (kind kill)."
            )
        return Drill(drill.id, drill.reason, drill.actor, utc_text(drill.since_ns), drill.propagation.acks())

    async def mirror(self) -> None:
        """Let every process that checks keys know the kills of new keys; does nothing when they do."""
        stops = self._kills.stops()
        if stops != self._mirrored:
            await asyncio.to_thread(self._keys.set_stops, [Stop(*stop) for stop in stops])
            self._mirrored = stops

    def _matches(self, target: Target) -> bool:
        if target.kind == "scope":
            return target.name == "platform" or self._budgets.knows(target.name) or self._has_key(target.name)
        listed = target.kind == "model" and self._models.listed(target.name)
        return listed or self._names.knows(target, self._models.identities)

    def _has_key(self, scope: str) -> bool:
        owners = (str(key.path()) for key in self._keys.list() if key.kind != "admin")
        return any(concerns(scope, owner) and f"{owner}/".startswith(f"{scope}/") for owner in owners)

    async def _publish(self, row: KillRow, action: str, started_ns: int, *, new: bool) -> None:
        await self._committer.durable()
        try:
            # A kill of new keys is answered once no key can be made; a mirror that fails keeps no push back.
            await self.mirror()
        finally:
            if new:
                self._push(row, action, started_ns)

    def _push(self, row: KillRow, action: str, started_ns: int) -> None:
        self._propagations.pop(row.id, None)
        propagation = self._hub.push_kills(started_ns, lambda acks: self._arrived(row, action, acks))
        if action == "kill":
            self._propagations[row.id] = propagation
            while len(self._propagations) > MAX_REMEMBERED:
                del self._propagations[next(iter(self._propagations))]

    def _arrived(self, row: KillRow, action: str, acks: Acks) -> None:
        what = "The kill" if action == "kill" else "The release"
        message = _summary(f"{what} of {row.target}", acks)
        entry = kill_entry("kill.propagation", row, self._clock(), actor=_FEEDBACK, message=message)
        self._report(entry, row.id, acks)

    def _report(self, entry: Row, subject: str, acks: Acks) -> None:
        """The result of a measurement → the ledger."""
        missing = [each for each in acks.clients if each.ms is None]
        told = {
            "of": subject,
            "epoch": self._kills.epoch,
            "connected": acks.connected,
            "acked": acks.acked,
            "p50_ms": acks.p50_ms,
            "p99_ms": acks.p99_ms,
            "max_ms": acks.max_ms,
            "missing": missing,
        }
        outcome = "ok" if not missing else "missing"
        self._committer.group.event(entry | {"outcome": outcome, "detail": entries.detail(told)})
        _LOG.warning("%s", entry["message"])

    def _record(self, action: str, row: KillRow, actor: str, outcome: str, message: str) -> None:
        entry = kill_entry(action, row, self._clock(), actor=actor, message=message)
        told = {
            "id": row.id,
            "scope": row.scope,
            "target": row.target,
            "reason": row.reason,
            "epoch": self._kills.epoch,
        }
        self._committer.group.event(entry | {"outcome": outcome, "detail": entries.detail(told)})
        _LOG.warning("%s", message)

    def _drill_entry(self, action: str, drill_id: str, actor: str, message: str) -> Row:
        made = entries.entry(EntryKind.KILL, self._clock(), actor=actor)
        return made | {"action": action, "subject": drill_id, "outcome": "ok", "message": message}


def _summary(what: str, acks: Acks) -> str:
    if not acks.connected:
        return f"{what} was pushed to nobody: no client was connected."
    reached = f"{what} reached {acks.acked} of {acks.connected} connected clients"
    return f"{reached}, the last after {acks.max_ms:g} ms." if acks.max_ms is not None else f"{reached}."
