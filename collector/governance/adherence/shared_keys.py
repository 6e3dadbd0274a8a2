"""Who used which key, and from where → findings of keys that two agents or two hosts share.

Owned by the owner's loop. Only keys of one agent are looked at: a tenant's key is made to be shared.
A name is another agent's at once; a host is a second one only when the old host goes on after the new
one came, for longer than a rolling restart lasts. Each newcomer is told once a day, with whom it shares.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, NamedTuple

from collector.governance.adherence.config import Config
from collector.governance.adherence.findings import Breach, FindingBook, key_of
from collector.governance.windows import utc_text
from schemas.tables import FindingRule

_DAY_NS = 86_400 * 10**9
# Keys in use at once, and names or hosts of one of them; beyond it the one that rested longest is forgotten.
_MAX_KEYS = 10_000
_MAX_USERS = 16

What = Literal["agent", "process agent", "service", "host"]
"""What tells users apart: the agent that root spans name, the one the resource names, its service, its host."""


class Sighting(NamedTuple):
    """One use of a key in one booking: by whom, and when its first and last records began (Unix ns)."""

    credential_id: str
    agent: str
    what: What
    user: str
    first: int
    last: int


class _Use(NamedTuple):
    first: int
    last: int


class SharedKeys:
    """The users of each key lately."""

    def __init__(self, config: Config, findings: FindingBook) -> None:
        self._window = config.shared_key_window.ns
        self._overlap = config.shared_key_overlap.ns
        self._hosts = config.shared_key in {"both", "hosts"}
        self._names = config.shared_key in {"both", "agents"}
        self._findings = findings
        self._users: OrderedDict[tuple[str, str], dict[str, _Use]] = OrderedDict()

    def seen(self, sightings: Sequence[Sighting], now_ns: int) -> None:
        """Take in what one booking says."""
        touched = []
        for each in sightings:
            if self._hosts if each.what == "host" else self._names:
                self._take(each)
                touched.append(each)
        # All of them first: of two that came together each was there when the other was.
        for each in touched:
            self._judge(each, now_ns)

    def forget(self, now_ns: int) -> None:
        """Drop keys that nobody used for long."""
        for key, users in list(self._users.items()):
            if all(now_ns - use.last > self._window for use in users.values()):
                del self._users[key]

    def _take(self, seen: Sighting) -> None:
        key = (seen.credential_id, seen.what)
        users = self._users.setdefault(key, {})
        self._users.move_to_end(key)
        known = users.pop(seen.user, None)
        # Who comes back after a rest is a newcomer: else an old host that takes over again would share with the new.
        if known is None or seen.first - known.last > self._window:
            known = _Use(seen.first, seen.last)
        users[seen.user] = _Use(min(known.first, seen.first), max(known.last, seen.last))
        if len(users) > _MAX_USERS:
            del users[next(iter(users))]
        if len(self._users) > _MAX_KEYS:
            self._users.popitem(last=False)

    def _judge(self, seen: Sighting, now_ns: int) -> None:
        users = self._users.get((seen.credential_id, seen.what), {})
        mine = users.get(seen.user)
        for other, use in users.items():
            if mine is None or other == seen.user:
                continue
            newer_first = (mine.first, seen.user) > (use.first, other)
            older, newer = (other, seen.user) if newer_first else (seen.user, other)
            if self._share(seen.what, users[older], users[newer]):
                breach = _breach(seen, older, newer, users)
                if not self._findings.known(key_of(breach)):
                    self._findings.add([breach], now_ns)

    def _share(self, what: What, older: _Use, newer: _Use) -> bool:
        if what == "host":
            return older.last - newer.first > self._overlap
        return newer.first - older.last <= self._window


def _breach(seen: Sighting, older: str, newer: str, users: dict[str, _Use]) -> Breach:
    first, last = users[newer].first, max(users[older].last, users[newer].last)
    day = utc_text(first // _DAY_NS * _DAY_NS)
    return Breach(
        rule=FindingRule.SHARED_KEY,
        agent=seen.agent,
        subject=seen.credential_id,
        cause=f"{day[:10]} {seen.what} {newer}",
        calls=0,
        first=first,
        last=last,
        cost=0,
        unpriced=0,
        why=f"from {seen.what} {newer!r} while {seen.what} {older!r} was using it.",
        decisions=(),
        entries=(),
        traces=(),
        credential_id=seen.credential_id,
    )
