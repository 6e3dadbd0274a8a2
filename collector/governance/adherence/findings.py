"""Breaches of many bookings → one finding for each rule, agent, model and cause, and its ledger entries.

Invariants: the first call of a finding is told at once; what is added later is told by further
entries, each with what it adds, so that the entries of one finding add up to all its calls; what is
not told yet is in the state, so that a crash loses none and doubles none. What is a breach is left to
`judge` and `shared_keys`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from collector.governance import entries
from collector.governance.notices import finding_notice
from collector.governance.windows import utc_text
from collector.state.rows import Group, Row
from schemas.ids import AgentPath
from schemas.money import format_usd
from schemas.tables import EntryKind, FindingDetail

_SAMPLES = 5
_ENCODE = msgspec.msgpack.Encoder().encode


class Breach(NamedTuple):
    """Calls of one booking that broke one rule in one way. Times in Unix ns, cost in nano-USD."""

    rule: str
    agent: str
    subject: str
    cause: str
    calls: int
    first: int
    last: int
    cost: int
    unpriced: int
    why: str
    """The end of the sentence that begins with who ran what."""
    decisions: Sequence[str]
    entries: Sequence[str]
    traces: Sequence[str]
    credential_id: str = ""


class Finding(msgspec.Struct):
    """What is known of one finding. Changed only by `FindingBook`."""

    rule: str
    agent: str
    subject: str
    cause: str
    why: str
    first: int
    last: int
    credential_id: str = ""
    count: int = 0
    cost: int = 0
    unpriced: int = 0
    told: int = 0
    told_cost: int = 0
    told_unpriced: int = 0
    told_at: int = 0
    decisions: list[str] = []
    entries: list[str] = []
    traces: list[str] = []


class FindingBook:
    """The findings that may still grow. Owned by the owner's loop."""

    def __init__(self, group: Callable[[], Group], *, interval_ns: int, most: int) -> None:
        self._group = group
        self._interval_ns = interval_ns
        self._most = most
        self._open: dict[str, Finding] = {}
        """By key, the one that rested longest first."""
        self._untold: dict[str, Finding] = {}

    def restore(self, stored: Iterable[tuple[str, bytes]]) -> None:
        """Take back what was stored, oldest change first."""
        self._open = {key: msgspec.msgpack.decode(blob, type=Finding) for key, blob in stored}
        self._untold = {key: finding for key, finding in self._open.items() if finding.count > finding.told}

    def known(self, key: str) -> bool:
        """Whether a finding of this key was made."""
        return key in self._open

    def add(self, breaches: Iterable[Breach], now_ns: int) -> None:
        """These calls, of one booking, broke rules."""
        touched = {key_of(breach): self._grown(breach, now_ns) for breach in breaches}
        for key, finding in touched.items():
            if not finding.told_at:
                self._tell(key, finding, now_ns)
            else:
                self._untold[key] = finding
                self._store(key, finding, now_ns)

    def flush(self, now_ns: int, *, everything: bool = False) -> None:
        """Tell what was added to findings, where that is due or `everything` is asked for."""
        for key, finding in list(self._untold.items()):
            # A clock that was put back means: due.
            if everything or not 0 <= now_ns - finding.told_at < self._interval_ns:
                self._tell(key, finding, now_ns)

    def _grown(self, breach: Breach, now_ns: int) -> Finding:
        key = key_of(breach)
        finding = self._open.pop(key, None)
        if finding is None:
            self._make_room(now_ns)
            finding = Finding(
                breach.rule, breach.agent, breach.subject, breach.cause, breach.why, breach.first, breach.last,
                breach.credential_id,
            )  # fmt: skip
        self._open[key] = finding
        _grow(finding, breach)
        return finding

    def _make_room(self, now_ns: int) -> None:
        while len(self._open) >= self._most:
            key = next(iter(self._open))
            if key in self._untold:
                self._tell(key, self._open[key], now_ns)
            del self._open[key]

    def _tell(self, key: str, finding: Finding, now_ns: int) -> None:
        self._untold.pop(key, None)
        row = _entry(key, finding, now_ns)
        self._group().event(row)
        if not finding.told_at:
            self._group().notify(finding_notice(finding.rule, key, row))
        finding.told, finding.told_cost, finding.told_unpriced = finding.count, finding.cost, finding.unpriced
        finding.told_at = now_ns
        finding.entries, finding.traces = [], []
        self._store(key, finding, now_ns)

    def _store(self, key: str, finding: Finding, now_ns: int) -> None:
        self._group().findings[key] = (_ENCODE(finding), now_ns)


def key_of(breach: Breach) -> str:
    """What makes two breaches one finding."""
    return f"{breach.rule}|{breach.agent}|{breach.subject}|{breach.cause}"


def _grow(finding: Finding, breach: Breach) -> None:
    finding.count += breach.calls
    finding.cost += breach.cost
    finding.unpriced += breach.unpriced
    finding.first, finding.last = min(finding.first, breach.first), max(finding.last, breach.last)
    finding.decisions = _sampled(finding.decisions, breach.decisions)
    finding.entries = _sampled(finding.entries, breach.entries)
    finding.traces = _sampled(finding.traces, breach.traces)


def _sampled(known: list[str], more: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*known, *filter(None, more)]))[:_SAMPLES]


def _entry(key: str, finding: Finding, now_ns: int) -> Row:
    """What was added to a finding since it was told last."""
    path = AgentPath(*finding.agent.split("/"))
    row = entries.entry(EntryKind.FINDING, now_ns, actor=f"agent:{finding.agent}", path=path)
    row["event_time"] = min(finding.last, now_ns)
    row["action"] = finding.rule
    row["subject"] = finding.subject
    row["outcome"] = "continued" if finding.told_at else "found"
    if finding.credential_id:
        row["credential_id"] = finding.credential_id
    if len(finding.decisions) == 1:
        row["decision_id"] = finding.decisions[0]
    added = finding.count - finding.told
    row["message"] = f"{finding.agent} {_ran(finding, added)} {finding.why}"
    row["detail"] = entries.detail(
        FindingDetail(
            finding=key,
            cause=finding.cause,
            count=added,
            total=finding.count,
            cost_usd=format_usd(finding.cost - finding.told_cost),
            unpriced=finding.unpriced - finding.told_unpriced,
            first=utc_text(finding.first),
            last=utc_text(finding.last),
            decisions=finding.decisions,
            entries=finding.entries,
            traces=finding.traces,
        )
    )
    return row


def _ran(finding: Finding, added: int) -> str:
    if finding.credential_id:
        return f"sent telemetry with key {finding.credential_id}"
    calls = "a call" if added == 1 else f"{added} calls"
    return f"ran {calls} of {finding.subject or 'a model it does not name'}"
