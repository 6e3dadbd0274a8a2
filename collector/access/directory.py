"""`governance/` becomes a directory: who exists, in which time zone, and what each may spend.

Invariant: what is loaded is exactly what the files say. An unknown key, a misnamed file, an amount
that is not exact or a time zone that does not exist is a `ConfigError` with the place and the word
that was probably meant; nothing is skipped and no default hides a mistake. The digest covers the
meaning (scopes, names, zones, amounts) and not the layout, so a reformatted file is the same policy.

Leaves counting money to the owner's budgets. That a child's limit exceeds its parent's is a
finding, not an error: all limits of a call hold at once, so the larger one merely never speaks.
"""

import functools
import hashlib
import re
import zoneinfo
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec

from collector.access.registration import create_default, register_agent
from collector.access.tree import Config, Tree, checked_id, require_file
from collector.access.yaml_file import Node, bind, did_you_mean, read_yaml
from schemas.errors import ConfigError, Permanent
from schemas.governance import (
    UNITS,
    AgentFile,
    Budgets,
    Limit,
    Mode,
    OrgFile,
    PlatformFile,
    ScopeLimits,
    TenantFile,
    Unit,
)
from schemas.ids import PLATFORM, AgentPath, check_org
from schemas.money import parse_usd, worded

__all__ = ["Config", "Directory", "create_default", "load", "register_agent"]

DIGEST_FORMAT = "spanward.governance/1"
PLATFORM_FILE = "platform.yaml"

# Plain decimal text that `decimal` represents exactly; an exponent in a budget would be a riddle.
_AMOUNT = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,17})?")

T = TypeVar("T", bound=msgspec.Struct)


class Scope(msgspec.Struct, frozen=True):
    """One organisation, tenant or agent: its name for people and its resolved limits."""

    display_name: str
    limits: ScopeLimits


class Directory:
    """Everybody the governance files know. Immutable: a changed policy is another directory."""

    def __init__(self, scopes: list[Scope]) -> None:
        self._scopes = {scope.limits.scope: scope for scope in scopes}
        self._agents = frozenset(AgentPath.parse(name) for name in self._scopes if name.count("/") == 2)
        self.digest = _digest(scopes)
        """SHA-256 of the canonical content, 64 hex digits."""
        self.findings = tuple(finding for scope in scopes for finding in self._unreachable(scope.limits))
        """One sentence for each limit that can never be reached because a parent's is lower."""

    def scope_limits(self) -> dict[str, ScopeLimits]:
        """Limits by scope: `platform`, `ORG`, `ORG/TENANT`, `ORG/TENANT/AGENT`. Those without a limit are there too."""
        return {name: scope.limits for name, scope in self._scopes.items()}

    def agents(self) -> tuple[AgentPath, ...]:
        """Every agent, sorted by path."""
        return tuple(sorted(self._agents))

    def has_agent(self, path: AgentPath) -> bool:
        """Say whether the files know this agent."""
        return path in self._agents

    def tenants(self) -> tuple[str, ...]:
        """Every tenant as `ORG/TENANT`, sorted."""
        return tuple(sorted(name for name in self._scopes if name.count("/") == 1))

    def display_name(self, scope: str) -> str:
        """The name for people, or the scope itself where the file gives none."""
        return self._scopes[scope].display_name or scope

    def _unreachable(self, child: ScopeLimits) -> list[str]:
        above = [self._scopes[name].limits for name in _ancestors(child.scope) if name in self._scopes]
        return [
            f"The {window} limit of {child.scope} can never be reached: it exceeds {lower}."
            for unit in UNITS
            for window in ("daily", "monthly")
            if (lower := _lower_limit(child, above, window, unit))
        ]


def load(root: Path, config: Config | None = None) -> Directory:
    """Read the governance directory `root`; raises `ConfigError` at the first thing that is wrong."""
    return Directory(_Loader(Tree(root, config or Config())).orgs())


class _Source(msgspec.Struct, frozen=True):
    """Where a value was read, for errors about its meaning."""

    place: str
    node: Node

    def error(self, keys: tuple[str, ...], what: str, *, fix: str) -> ConfigError:
        return ConfigError(f"{self.place}:{self.node.line_of(keys)}: {'.'.join(keys)}: {what}", fix=fix)


class _Loader:
    """One walk over the tree, parents first, so that children inherit what is already resolved."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def orgs(self) -> list[Scope]:
        folders, files = self._tree.entries("")
        for name in files:
            if name != PLATFORM_FILE:
                raise ConfigError(
                    f"{name!r} lies beside the organisations.",
                    fix=f"An organisation is a folder: ORG/org.yaml; only {PLATFORM_FILE} stands beside them.",
                )
        platform = self._platform() if files else None
        above = ScopeLimits(PLATFORM, "UTC") if platform is None else platform.limits
        orgs = [scope for org in folders for scope in self._org(_org_id(org), above)]
        return orgs if platform is None else [platform, *orgs]

    def _platform(self) -> Scope:
        file, source = self._file(PLATFORM_FILE, PlatformFile)
        above = ScopeLimits(PLATFORM, _time_zone(file.time_zone, source))
        return Scope(file.display_name, _limits(PLATFORM, above, budgets=file.budgets, source=source))

    def _org(self, org: str, above: ScopeLimits) -> list[Scope]:
        tenants, files = self._tree.entries(org)
        require_file(self._tree.shown(org), files, required="org.yaml")
        file, source = self._file(f"{org}/org.yaml", OrgFile)
        limits = _limits(org, _zoned(above, file.time_zone, source), budgets=file.budgets, source=source)
        below = [self._tenant(f"{org}/{checked_id(tenant, where=self._tree.shown(org))}", limits) for tenant in tenants]
        return [Scope(file.display_name, limits), *(each for scopes in below for each in scopes)]

    def _tenant(self, tenant: str, above: ScopeLimits) -> list[Scope]:
        folders, files = self._tree.entries(tenant)
        require_file(self._tree.shown(tenant), files, required="tenant.yaml")
        for name in folders:
            if name != "agents":
                raise ConfigError(
                    f"{self._tree.shown(tenant)}/ holds an unknown folder {name!r}.", fix=did_you_mean(name, ["agents"])
                )
        file, source = self._file(f"{tenant}/tenant.yaml", TenantFile)
        limits = _limits(tenant, _zoned(above, file.time_zone, source), budgets=file.budgets, source=source)
        return [Scope(file.display_name, limits), *(self._agents(tenant, limits) if folders else [])]

    def _agents(self, tenant: str, above: ScopeLimits) -> list[Scope]:
        place = f"{tenant}/agents"
        folders, files = self._tree.entries(place)
        if folders:
            raise ConfigError(
                f"{self._tree.shown(place)}/ holds a folder {folders[0]!r}.",
                fix="An agent is a file: agents/AGENT.yaml.",
            )
        return [self._agent(tenant, name, above) for name in files]

    def _agent(self, tenant: str, name: str, above: ScopeLimits) -> Scope:
        agent = PurePosixPath(name).stem
        if name != f"{agent}.yaml":
            raise ConfigError(
                f"{self._tree.shown(tenant)}/agents/ holds {name!r}.",
                fix=f"An agent's file is named {f'{agent}.yaml'!r}.",
            )
        scope = f"{tenant}/{checked_id(agent, where=self._tree.shown(f'{tenant}/agents'))}"
        file, source = self._file(f"{tenant}/agents/{name}", AgentFile)
        return Scope(file.display_name, _limits(scope, above, budgets=file.budgets, source=source))

    def _file(self, place: str, kind: type[T]) -> tuple[T, _Source]:
        shown = self._tree.shown(place)
        node = read_yaml(self._tree.read(place), place=shown, max_nesting=self._tree.config.max_nesting)
        return bind(node, kind, place=shown), _Source(shown, node)


def _org_id(name: str) -> str:
    try:
        return check_org(checked_id(name, where="the governance directory"))
    except Permanent as error:
        raise ConfigError(error.what, fix=error.fix) from error


def _zoned(above: ScopeLimits, time_zone: str | None, source: _Source) -> ScopeLimits:
    """What a scope inherits, in the time zone that its own file gives it."""
    return above if time_zone is None else msgspec.structs.replace(above, time_zone=_time_zone(time_zone, source))


def _limits(scope: str, above: ScopeLimits, *, budgets: Budgets, source: _Source) -> ScopeLimits:
    """The limits of a scope; time zone and mode are those of `above` where its file says nothing."""
    mode: Mode = above.mode if budgets.mode is None else budgets.mode
    for window, limit in (("daily", budgets.daily), ("monthly", budgets.monthly)):
        if limit == Limit():
            raise source.error(("budgets", window), "it limits nothing.", fix="Add usd: or tokens: to it.")
    return ScopeLimits(
        scope=scope,
        time_zone=above.time_zone,
        daily_nano_usd=_amount(budgets.daily, source, window="daily"),
        monthly_nano_usd=_amount(budgets.monthly, source, window="monthly"),
        daily_tokens=None if budgets.daily is None else budgets.daily.tokens,
        monthly_tokens=None if budgets.monthly is None else budgets.monthly.tokens,
        mode=mode,
    )


def _amount(limit: Limit | None, source: _Source, *, window: str) -> int | None:
    if limit is None or limit.usd is None:
        return None
    keys = ("budgets", window, "usd")
    text = str(limit.usd)
    if not _AMOUNT.fullmatch(text):
        raise source.error(
            keys, f"{text!r} is not an amount in USD.", fix='Write a plain decimal such as "50" or "0.25".'
        )
    try:
        return parse_usd(text)
    except Permanent as error:
        raise source.error(keys, error.what, fix=error.fix) from error


def _time_zone(name: str, source: _Source) -> str:
    if name in _time_zones():
        return name
    raise source.error(
        ("time_zone",), f"there is no time zone {name!r}.", fix=f"Use an IANA name. {did_you_mean(name, _time_zones())}"
    )


@functools.cache
def _time_zones() -> frozenset[str]:
    """IANA names this machine knows. Membership, because a name handed to `ZoneInfo` is tried as a path."""
    return frozenset(zoneinfo.available_timezones() | {"UTC"}) - {"localtime"}


def _ancestors(scope: str) -> list[str]:
    """The scopes above one, nearest first."""
    parts = scope.split("/")
    names = ["/".join(parts[:length]) for length in range(len(parts) - 1, 0, -1)]
    return names if scope == PLATFORM else [*names, PLATFORM]


def _lower_limit(child: ScopeLimits, above: list[ScopeLimits], window: str, unit: Unit) -> str:
    """The nearest limit above a child that is lower than its own, in words; empty when there is none."""
    limit = child.limit(window, unit)
    for parent in above:
        most = parent.limit(window, unit)
        if limit is not None and most is not None and most < limit:
            return f"{worded(unit, most)} of {parent.scope}"
    return ""


def _digest(scopes: list[Scope]) -> str:
    canonical = msgspec.json.encode([DIGEST_FORMAT, sorted(scopes, key=lambda scope: scope.limits.scope)])
    return hashlib.sha256(canonical).hexdigest()
