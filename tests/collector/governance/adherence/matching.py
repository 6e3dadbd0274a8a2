"""The matching on a real state file, with a clock the test owns; every booking is committed at once."""

import itertools
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from collector.governance.adherence.config import Config
from collector.governance.adherence.judge import Adherence, Outside, Stored
from collector.governance.adherence.rulings import Decided
from collector.governance.adherence.shared_keys import Sighting
from collector.governance.adherence.stops import Stop
from collector.governance.adherence.suspects import suspects
from collector.governance.counters import Amount
from collector.governance.holds import Call, Hold, Terms
from collector.pricing.book import PriceBook
from collector.pricing.identity import Models
from collector.state.rows import Group
from schemas.control import Verdict
from schemas.ids import AgentPath
from tests.collector.governance.bookkeeping import NOON, SECOND, TRIAGE, Book

IDENTITIES = Models(PriceBook()).identities
COLUMNS = [
    *((name, pa.string()) for name in ("org", "tenant", "agent", "provider", "model", "request_model")),
    *((name, pa.string()) for name in ("decision_id", "entry_id", "trace_id")),
    *((name, pa.int64()) for name in ("start_time", "end_time", "received_time", "cost_nano_usd")),
]
Row = dict[str, Any]


class Matching:
    """An owner's adherence and budgets. `run` books calls, `found` are the findings told so far."""

    def __init__(self, path: Path, settings: Mapping[str, object], *, now: int = NOON) -> None:
        self.config = msgspec.convert(settings, Config, dec_hook=lambda kind, text: kind(text))
        self.book = Book(path, now=now)
        self.stops: list[Stop] = []
        self.since = now
        self.found: list[Row] = []
        self._taken = 0
        self._ids = itertools.count(1)
        self._start()

    def _start(self) -> None:
        state = self.book.state
        outside = Outside(IDENTITIES, lambda: self.stops, state.holds)
        self.adherence = Adherence(self.config, self.book.budgets, outside)
        self.adherence.restore(Stored(self.since, state.rulings(), state.askers(), state.findings()))

    def restart(self) -> None:
        self.book.restart()
        self._start()

    @property
    def now(self) -> int:
        return self.book.now

    def wait(self, ns: int) -> None:
        self.book.wait(ns)
        self.adherence.tick(self.now)
        self._commit()

    def allow(self, *, agent: AgentPath = TRIAGE, model: str = "gpt-4o", ttl: int = 900 * SECOND) -> Hold:
        """A decision that holds money."""
        unique = self.new_id()
        budgets = self.book.budgets
        terms = Terms(
            f"hold_{unique}",
            f"dec_{unique}",
            "key",
            "openai",
            model,
            "worst_case",
            Amount(10, 10),
            self.now,
            self.now + ttl,
        )
        hold = budgets.hold(budgets.account(agent), terms)
        self._decided(terms.decision_id, agent, model, verdict="allow", held=True)
        return hold

    def allow_free(self, *, agent: AgentPath = TRIAGE, model: str = "gpt-4o") -> str:
        """A decision that allows without money."""
        return self._decided(f"dec_{self.new_id()}", agent, model, verdict="allow", held=False)

    def new_id(self) -> str:
        """The id of something made now, by the test's clock."""
        stamp = self.now // 10**6 << 80 | 7 << 76 | 1 << 63 | next(self._ids)
        return str(uuid.UUID(int=stamp))

    def deny(self, *, agent: AgentPath = TRIAGE, model: str = "gpt-4o") -> str:
        return self._decided(f"dec_{self.new_id()}", agent, model, verdict="deny", held=False)

    def _decided(self, decision_id: str, agent: AgentPath, model: str, *, verdict: Verdict, held: bool) -> str:
        rule = "budget.within" if verdict == "allow" else f"budget.daily.{agent}"
        self.adherence.decided(Decided(decision_id, str(agent), "openai", model, verdict, rule, held, self.now))
        self._commit()
        return decision_id

    def call(self, *, agent: AgentPath = TRIAGE, at: int | None = None, lasted: int = SECOND, **columns: object) -> Row:
        """A call that begins now unless said, and is received when it ends."""
        start = self.now if at is None else at
        number = next(self._ids)
        return {
            "org": agent.org, "tenant": agent.tenant, "agent": agent.agent, "provider": "openai", "model": "gpt-4o",
            "request_model": "gpt-4o", "decision_id": None, "entry_id": f"entry-{number:05}", "trace_id": f"t{number}",
            "start_time": start, "end_time": start + lasted, "received_time": max(self.now, start + lasted),
            "cost_nano_usd": 7, **columns,
        }  # fmt: skip

    def run(self, *calls: Row) -> list[Row]:
        """Book these calls; the findings they made."""
        before = len(self.found)
        table = pa.Table.from_pylist(list(calls), schema=pa.schema(COLUMNS))
        self.judge(table, calls)
        return self.found[before:]

    def judge(self, table: pa.Table, calls: Sequence[Row] = ()) -> None:
        """One booking."""
        chosen = suspects(table, self.adherence.watch())
        self.book.budgets.advance(self.now)
        costed = [(_path(call), _call(call)) for call in calls if call["cost_nano_usd"] is not None]
        matched = self.book.budgets.book([], costed, self.now)
        self.adherence.judge(chosen, matched, self.now)
        self._commit()

    def seen(self, *sightings: Sighting) -> list[Row]:
        before = len(self.found)
        self.adherence.seen(sightings, self.now)
        self._commit()
        return self.found[before:]

    def flush(self) -> list[Row]:
        before = len(self.found)
        self.adherence.flush(self.now)
        self._commit()
        return self.found[before:]

    def _commit(self) -> None:
        group, self.book.budgets.group = self.book.budgets.group, Group()
        self.book.state.commit(group)
        self.book.budgets.forget(group.finals)
        for number, blob in self.book.state.events(self._taken, 10**6):
            self._taken = number
            row = msgspec.msgpack.decode(blob)["row"]
            if row["kind"] == "finding":
                self.found.append(row | {"detail": msgspec.json.decode(row["detail"])})

    def close(self) -> None:
        self.book.close()


def rules(found: list[Row]) -> list[str]:
    return [row["action"] for row in found]


def _path(call: Row) -> AgentPath:
    return AgentPath(call["org"], call["tenant"], call["agent"])


def _call(call: Row) -> Call:
    times = (call["start_time"], call["end_time"], call["received_time"])
    named = (call["model"], call["request_model"] or "", call["decision_id"] or "")
    return Call(*named, *times, call["cost_nano_usd"], None, call["entry_id"])
