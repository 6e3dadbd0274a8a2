"""Kills and releases in, refusals out: who is stopped, why and until when. Pure, no clock and no I/O.

Invariants: a kill is in force from the step that makes it until the step that releases it; the epoch
grows by one with each and never goes back, over restarts too, because it is the largest number in
the rows; a repetition changes nothing. Nothing here expires: only a release ends a kill.

That a kill is durable before anybody is told, and who is told, is left to `control.kill`; which names
are one model, to whoever passes `models`.
"""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from collector.governance.entries import entry, owner_columns
from collector.governance.windows import utc_text
from collector.state.rows import KillRow, Named, ReleaseRow, Row
from schemas.control import DecisionRequest, Reason
from schemas.errors import Permanent
from schemas.ids import PLATFORM, AgentPath, check_id, check_reason
from schemas.kills import MODEL, TOOL, Kill, KillScope
from schemas.tables import EntryKind

MAX_NAME_CHARS = 256
MAX_NAMED = 10_000
KILL_PREFIX = "kill_"
_LLM = "llm."
_TOOL_ACTION = "tool.call"
_FORMS = "platform, ORG, ORG/TENANT, ORG/TENANT/AGENT, model:NAME or tool:NAME"

Identities = Callable[[str, str], frozenset[str]]
"""(provider, model) → the ids it goes by; two names are one model when their ids meet."""


class Target(NamedTuple):
    """Whom or what a kill names. `kind` scope covers platform, organisations, tenants and agents."""

    kind: Literal["scope", "model", "tool"]
    name: str

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read a target; raises `Permanent` naming what is wrong."""
        for prefix, kind in ((MODEL, "model"), (TOOL, "tool")):
            if text.startswith(prefix):
                return cls(kind, _name(text.removeprefix(prefix), text))  # type: ignore[arg-type]
        parts = text.split("/")
        if text != PLATFORM and (not 1 <= len(parts) <= 3 or parts[0] == PLATFORM):
            raise Permanent(f"{text!r} is not the target of a kill.", fix=f"Write {_FORMS}.")
        for part in parts:
            check_id(part, where=f"the target {text!r}")
        return cls("scope", text)

    def __str__(self) -> str:
        return self.name if self.kind == "scope" else f"{self.kind}:{self.name}"


class Order(NamedTuple):
    """What an operator wants stopped."""

    scope: KillScope
    target: Target
    reason: str
    actor: str


class Kills:
    """The kill state. Owned by the owner's loop."""

    def __init__(self, models: Identities, kills: Iterable[KillRow] = (), releases: Iterable[ReleaseRow] = ()) -> None:
        """Take back what was stored."""
        self._models = models
        self._all = {row.id: row for row in kills}
        self._releases = {row.kill_id: row for row in releases}
        numbers = [*(row.epoch for row in self._all.values()), *(row.epoch for row in self._releases.values())]
        self.epoch = max(numbers, default=0)
        """Number of the kill state; 0 when nothing was ever killed."""
        self._index()

    @property
    def in_force(self) -> list[KillRow]:
        """The kills nobody has released, oldest first."""
        return [row for row in self._all.values() if row.id not in self._releases]

    def history(self) -> list[tuple[KillRow, ReleaseRow | None]]:
        """Every kill with its release, oldest first."""
        return [(row, self._releases.get(row.id)) for row in self._all.values()]

    @property
    def active(self) -> bool:
        """True while some kill may refuse a decision: the one check of the hot path."""
        return self._active

    def kill(self, order: Order, kill_id: str, now_ns: int) -> tuple[KillRow, bool]:
        """Stop it: the kill, and whether it is new. The same scope and target again is the kill that is in force.

        Raises `Permanent` for an order that could stop nothing.
        """
        _check(order)
        target = str(order.target)
        for row in self.in_force:
            if (row.scope, row.target) == (order.scope, target):
                return row, False
        self.epoch += 1
        row = KillRow(kill_id, order.scope, target, order.reason, order.actor, now_ns, self.epoch)
        self._all[row.id] = row
        self._index()
        return row, True

    def release(self, kill_id: str, *, reason: str, actor: str, now_ns: int) -> tuple[KillRow, ReleaseRow, bool] | None:
        """End a kill: it, its release, and whether that is new; `None` when there never was such a kill."""
        check_reason(reason, "A release")
        row = self._all.get(kill_id)
        if row is None:
            return None
        known = self._releases.get(kill_id)
        if known is not None:
            return row, known, False
        self.epoch += 1
        release = self._releases[kill_id] = ReleaseRow(kill_id, reason, actor, now_ns, self.epoch)
        self._index()
        return row, release, True

    def refusals(self, path: AgentPath, request: DecisionRequest) -> list[Reason]:
        """Why this agent may not do that now, the widest kill first; empty when no kill concerns it."""
        found = [row for scope in dict.fromkeys((PLATFORM, *path.scopes())) for row in self._scopes.get(scope, ())]
        if self._model_kills and request.action.startswith(_LLM):
            asked = self._models(request.provider, request.model)
            # A call that does not name its model may be the very one that was killed.
            found += [row for ids, row in self._model_kills if not asked or ids & asked]
        if self._tools and request.action == _TOOL_ACTION:
            tool = tool_of(request).casefold()
            found += [row for name, row in self._tools if not tool or name == tool]
        llm = request.action.startswith(_LLM)
        return [_refusal(row) for row in found if row.scope == "all" or llm]

    def stops(self) -> list[tuple[str, str]]:
        """Targets whose keys may neither be made nor be used for the first time, each with a sentence that says why."""
        return [(row.target, _sentence(row)) for row in self.in_force if row.scope == "new_keys"]

    def _index(self) -> None:
        judged = [row for row in self.in_force if row.scope != "new_keys"]
        self._scopes: dict[str, list[KillRow]] = {}
        self._model_kills: list[tuple[frozenset[str], KillRow]] = []
        self._tools: list[tuple[str, KillRow]] = []
        for row in judged:
            target = Target.parse(row.target)
            if target.kind == "model":
                self._model_kills.append((self._models("", target.name), row))
            elif target.kind == "tool":
                self._tools.append((target.name.casefold(), row))
            else:
                self._scopes.setdefault(row.target, []).append(row)
        self._active = bool(judged)


class Names:
    """Models and tools that were asked about, so that a kill of one nobody knows can be told. Bounded."""

    def __init__(self, named: Iterable[Named]) -> None:
        self._named = {Named(*each) for each in named}
        self._models = {name for kind, name in self._named if kind == "model"}
        self._tools = {name for kind, name in self._named if kind == "tool"}

    def new(self, request: DecisionRequest) -> list[Named]:
        """What this question names for the first time."""
        tool = tool_of(request) if request.action == _TOOL_ACTION else ""
        fresh: list[Named] = []
        if request.model not in self._models and request.model and len(self._models) < MAX_NAMED:
            self._models.add(request.model)
            fresh.append(Named("model", request.model))
        if tool and tool not in self._tools and len(self._tools) < MAX_NAMED:
            self._tools.add(tool)
            fresh.append(Named("tool", tool))
        return fresh

    def knows(self, target: Target, models: Identities) -> bool:
        """Whether anybody ever asked about this model or tool."""
        if target.kind == "tool":
            return any(tool.casefold() == target.name.casefold() for tool in self._tools)
        wanted = models("", target.name)
        return any(models("", model) & wanted for model in self._models)


def tool_of(request: DecisionRequest) -> str:
    """The tool a question names: the field, or the label that older clients put it in."""
    return (request.tool or request.labels.get("tool", "")).strip()


def view(row: KillRow) -> Kill:
    """A kill as it is told."""
    return Kill(row.id, row.scope, row.target, row.reason, row.actor, utc_text(row.since), row.epoch)


def kill_entry(action: str, row: KillRow, at_ns: int, *, actor: str, message: str) -> Row:
    """The ledger entry of something that was done to a kill."""
    made = entry(EntryKind.KILL, at_ns, actor=actor)
    if Target.parse(row.target).kind == "scope":
        made |= owner_columns(row.target)
    return made | {"action": action, "subject": row.target, "message": message}


def kill_message(row: KillRow) -> str:
    """The sentence of a kill's entry."""
    return f"{row.actor} killed {_WHAT[row.scope]} of {row.target}: {row.reason}"


_WHAT = {"all": "everything", "llm": "all model calls", "new_keys": "new keys and first uses of keys"}


def _refusal(row: KillRow) -> Reason:
    return Reason(
        f"kill.{row.scope}.{row.target}",
        _sentence(row),
        "Nothing the agent sends can lift it. "
        f"An operator releases it: spanward kill release {row.id} --data DIR --reason TEXT.",
    )


def _sentence(row: KillRow) -> str:
    since, reason = utc_text(row.since), row.reason.rstrip(".")
    return f"{row.actor} stopped {_WHAT[row.scope]} of {row.target} at {since}: {reason}."


def _check(order: Order) -> None:
    check_reason(order.reason, "A kill")
    kind = order.target.kind
    if kind == "tool" and order.scope != "all":
        raise Permanent(f"A kill of {order.scope} stops no tool.", fix="Use scope all for a tool.")
    if kind == "model" and order.scope == "new_keys":
        raise Permanent("Keys belong to no model.", fix="Use scope all or llm for a model.")


def _name(text: str, target: str) -> str:
    name = text.strip()
    if not name or not name.isprintable() or len(name) > MAX_NAME_CHARS:
        raise Permanent(
            f"{target[:80]!r} names nothing.", fix=f"Write 1 to {MAX_NAME_CHARS} printable characters after the colon."
        )
    return name
