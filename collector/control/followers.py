"""What other processes change (governance files, keys) → the owner's state, within seconds.

A bundle that does not load changes nothing: the last good one stays in force, over a restart too,
and the refusal is logged and recorded once. Entries of key operations are copied into the outbox
exactly once: the number of the last one is stored in the transaction that takes it.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from collector.access import directory
from collector.access.keys import KeyStore
from collector.control.commit import Committer
from collector.control.owner import Owner, Parts
from collector.governance import entries
from collector.state.store import State
from schemas.errors import ConfigError
from schemas.governance import ScopeLimits
from schemas.tables import EntryKind

_LOG = logging.getLogger("spanward.control")
_GOVERNANCE = "system:governance"
_KEYS_TAKEN = "keys_taken"
_BUNDLE = "governance"
# ORG/TENANT/agents/AGENT.yaml
_DEPTH = 4

Signature = tuple[tuple[str, int, int, int], ...]
"""Path, change time, size and inode of everything below a folder."""


class Bundle(msgspec.Struct, frozen=True):
    """The limits in force, as stored, so that a restart has them even when the files are broken."""

    digest: str
    limits: dict[str, ScopeLimits]


class KeyFollower:
    """Copies the entries of key operations. Owned by the loop."""

    def __init__(self, keys: KeyStore, state: State, committer: Committer) -> None:
        self._keys = keys
        self._committer = committer
        self._taken = int(state.meta(_KEYS_TAKEN) or b"0")

    async def poll(self) -> None:
        """Take what is new."""
        while events := await asyncio.to_thread(self._keys.events, self._taken):
            self._taken = events[-1][0]
            group = self._committer.group
            group.meta[_KEYS_TAKEN] = str(self._taken).encode()
            for _, event in events:
                group.event(event.row)
            await self._committer.durable()


class GovernanceFollower:
    """Loads the governance files whenever they change. Owned by the loop; files are read beside it."""

    def __init__(self, root: Path, owner: Owner, parts: Parts, *, clock: Callable[[], int]) -> None:
        self._root = root
        self._owner = owner
        self._state, self._budgets, self._committer = parts.state, parts.budgets, parts.committer
        self._clock = clock
        self._seen: Signature = ()

    def start(self) -> None:
        """Put the files in force, or the stored bundle when they are broken; raises `ConfigError` without either."""
        stored = self._state.meta(_BUNDLE)
        last = msgspec.msgpack.decode(stored, type=Bundle) if stored else None
        self._seen = _signature(self._root)
        try:
            loaded = directory.load(self._root)
        except ConfigError as error:
            if last is None:
                raise
            self._put_in_force(last)
            self._refuse(error)
        else:
            self._put_in_force(Bundle(loaded.digest, loaded.scope_limits()))
            if last is None or last.digest != loaded.digest:
                self._record(loaded)

    async def poll(self) -> None:
        """Look once; what changed is in force when this returns."""
        seen = await asyncio.to_thread(_signature, self._root)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            loaded = await asyncio.to_thread(directory.load, self._root)
        except ConfigError as error:
            self._refuse(error)
            return
        if loaded.digest != self._owner.policy_digest:
            # A changed time zone counts all sums again from the disk, which must then be equal to memory.
            await self._committer.exclusively(lambda: self._change(loaded))

    def _change(self, loaded: directory.Directory) -> None:
        limits = loaded.scope_limits()
        if self._budgets.moves_windows(limits):
            self._put_in_force(Bundle(loaded.digest, limits))
        else:
            self._budgets.set_limits(limits, self._clock())
            self._owner.policy_digest = loaded.digest
        self._record(loaded)

    def _put_in_force(self, bundle: Bundle) -> None:
        now = self._clock()
        self._budgets.recount(bundle.limits, self._state.spends(self._budgets.horizon(now)), now)
        self._owner.policy_digest = bundle.digest

    def _record(self, loaded: directory.Directory) -> None:
        """A bundle is in force: store it beside its entry."""
        bundle = Bundle(loaded.digest, loaded.scope_limits())
        self._committer.group.meta[_BUNDLE] = msgspec.msgpack.encode(bundle)
        message = f"The governance files with digest {loaded.digest[:16]} are in force."
        for finding in loaded.findings:
            _LOG.warning("%s", finding)
        self._event("governance.load", loaded.digest, "ok", message, {"findings": list(loaded.findings)})

    def _refuse(self, error: ConfigError) -> None:
        """The files are wrong: say so once for each state they are in."""
        message = f"The governance files were refused and the last good ones stay in force: {error.diagnostics()}"
        _LOG.error("%s", message)
        self._event("governance.refuse", self._owner.policy_digest, "error", message, {"fix": error.fix})

    def _event(self, action: str, digest: str, outcome: str, message: str, detail: object) -> None:
        row = entries.entry(EntryKind.GOVERNANCE, self._clock(), actor=_GOVERNANCE)
        row |= {"action": action, "subject": digest, "outcome": outcome, "message": message}
        row["detail"] = entries.detail(detail)
        self._committer.group.event(row)


def _signature(root: Path) -> Signature:
    """What tells, without reading them, that files were changed, added or taken away."""
    return tuple(sorted(_stats(root, _DEPTH)))


def _stats(folder: Path, depth: int) -> Iterator[tuple[str, int, int, int]]:
    try:
        with os.scandir(folder) as found:
            for item in found:
                stat = item.stat()
                yield item.path, stat.st_mtime_ns, stat.st_size, stat.st_ino
                if depth > 1 and item.is_dir():
                    yield from _stats(Path(item.path), depth - 1)
    except OSError as error:
        # Loading says what is wrong; here it only has to look different.
        yield str(folder), error.errno or 0, 0, 0
