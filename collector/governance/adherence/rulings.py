"""Decisions as they are made → what a call may be held against later. Owned by the owner's loop.

Allowed calls have a hold, which remembers itself. Here is the rest: refusals, permissions that held
no money, and which agents ask at all. Invariant: what is remembered is in the state too, in the
transaction of its decision, so that a restart forgets nothing; it is bounded by `max_rulings`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from collector.governance.adherence.config import Config
from collector.governance.kills import Identities
from collector.state.rows import Asker, Group, Ruling
from schemas.control import Verdict

# An agent's last question is written down this often at most: a row a decision would double what one costs.
_ASKED_STEP_NS = 3600 * 10**9


class Decided(NamedTuple):
    """One decision about a model call. `held`: a hold was made, which remembers the rest."""

    decision_id: str
    agent: str
    provider: str
    model: str
    verdict: Verdict
    rule: str
    held: bool
    at_ns: int


class Rulings:
    """What was decided lately, and who asks."""

    def __init__(self, config: Config, identities: Identities, group: Callable[[], Group]) -> None:
        self._config = config
        self._identities = identities
        self._group = group
        self._by_id: dict[str, Ruling] = {}
        self._refused: dict[str, dict[str, Ruling]] = {}
        self._free: dict[tuple[str, str], int] = {}
        self.askers: dict[str, Asker] = {}
        """Agents that ask."""
        self.since_ns = 0
        """A decision before this may have been forgotten."""

    def restore(self, rulings: Iterable[Ruling], askers: Iterable[Asker], since_ns: int) -> None:
        """Take back what was stored; decisions before `since_ns` were not written down."""
        self.since_ns = since_ns
        for ruling in rulings:
            self._remember(ruling)
        self.askers = {asker.agent: asker for asker in askers}

    def decided(self, made: Decided) -> None:
        """A decision was made; its group is the one at hand."""
        self._asked(made)
        lifts = made.verdict == "allow" and self.refusal(made.agent, made.provider, made.model) is not None
        if made.held and not lifts:
            return
        ruling = Ruling(
            made.decision_id, made.agent, made.provider, made.model, made.verdict, made.rule, made.at_ns
        )  # fmt: skip
        self._remember(ruling, held=made.held)
        self._group().rulings.append(ruling)

    def find(self, decision_id: str) -> Ruling | None:
        """The refusal, or the permission without money, of that id."""
        return self._by_id.get(decision_id)

    def refused(self) -> Mapping[str, Mapping[str, Ruling]]:
        """The last refusal by agent and id of a model, where nothing was allowed since."""
        return self._refused

    def refusal(self, agent: str, provider: str, model: str) -> Ruling | None:
        """The refusal that stands against this agent and model."""
        models = self._refused.get(agent)
        if not models:
            return None
        return next((models[each] for each in self._identities(provider, model) if each in models), None)

    def freely_allowed(self, agent: str, identity: str) -> int | None:
        """When this agent was last allowed the model of this id without money being held."""
        return self._free.get((agent, identity))

    def forget(self, now_ns: int) -> None:
        """Drop refusals that no call is held against any more, and agents that stopped asking."""
        oldest = now_ns - self._config.denial_window.ns
        for agent, models in list(self._refused.items()):
            kept = {each: ruling for each, ruling in models.items() if ruling.recorded_time >= oldest}
            if kept:
                self._refused[agent] = kept
            else:
                del self._refused[agent]
        last = now_ns - self._config.asked_within.ns
        self.askers = {agent: asker for agent, asker in self.askers.items() if asker.until >= last}

    def _asked(self, made: Decided) -> None:
        known = self.askers.get(made.agent)
        if known is None:
            known = Asker(made.agent, made.at_ns, made.at_ns)
        elif made.at_ns - known.until >= _ASKED_STEP_NS:
            known = known._replace(until=made.at_ns)
        else:
            return
        self.askers[made.agent] = self._group().askers[made.agent] = known

    def _remember(self, ruling: Ruling, *, held: bool = False) -> None:
        self._by_id[ruling.decision_id] = ruling
        models = self._refused.setdefault(ruling.agent, {})
        for each in self._identities(ruling.provider, ruling.model):
            if ruling.verdict != "allow":
                models[each] = ruling
                continue
            models.pop(each, None)
            if not held:
                self._free[ruling.agent, each] = ruling.recorded_time
        if not models:
            del self._refused[ruling.agent]
        if len(self._by_id) > self._config.max_rulings:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self._by_id.pop(next(iter(self._by_id)))
        self.since_ns = max(self.since_ns, oldest.recorded_time + 1)
        models = self._refused.get(oldest.agent, {})
        for each in self._identities(oldest.provider, oldest.model):
            if models.get(each) is oldest:
                del models[each]
            if self._free.get((oldest.agent, each)) == oldest.recorded_time:
                del self._free[oldest.agent, each]
