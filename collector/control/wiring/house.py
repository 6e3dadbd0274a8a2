"""Data directory, settings and inherited sockets → what outlives a state that fails."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from collector.access.bootstrap import access_path
from collector.access.keys import Credential, KeyStore
from collector.control.credentials import Credentials
from collector.control.doors.config import Config
from collector.control.ingest import Bell, Seals
from collector.control.outage.front import Front
from collector.control.outage.ingest_line import IngestLine
from collector.control.outage.stand_in import Kept, StandIn
from collector.control.outage.trouble import Trouble
from collector.governance.adherence.config import Config as AdherenceConfig
from collector.governance.budgets import Config as BudgetsConfig
from collector.http import bind
from collector.notifications.config import Config as NotificationsConfig
from collector.pricing.config import Settings as PricingSettings


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the parent process tells this one on its standard input."""

    control: Config = Config()
    budgets: BudgetsConfig = BudgetsConfig()
    adherence: AdherenceConfig = AdherenceConfig()
    pricing: PricingSettings = PricingSettings()
    notifications: NotificationsConfig = NotificationsConfig()
    dedupe_keys: int
    operator_token: str


class Outside(NamedTuple):
    """Connections to ingest, what ends the process, and who is told the addresses once questions are answered."""

    connections: list[socket.socket]
    stop: asyncio.Event
    announce: Callable[[dict[str, str]], None]


class House(NamedTuple):
    """What outlives a state that fails."""

    data_dir: Path
    settings: Settings
    outside: Outside
    keys: KeyStore
    authenticate: Callable[[str], Credential]
    seals: Seals
    bell: Bell
    line: IngestLine
    front: Front
    stand_in: StandIn
    trouble: Trouble
    """Errors that end the process."""


def build(data_dir: Path, settings: Settings, outside: Outside, stack: ExitStack) -> House:
    """Everything that is made once; `stack` takes it apart. Raises `ConfigError` when a port cannot be had."""
    control, clock = settings.control, time.time_ns
    listener = bind(control.endpoint, setting="extensions.control.endpoint")
    stack.callback(listener.close)
    keys = KeyStore(access_path(data_dir), clock=clock)
    stack.callback(keys.close)
    authenticate = Credentials(keys.authenticate, recheck_ns=control.key_recheck.ns, clock=clock).of
    bell = Bell()
    seals = Seals(bell, now_ms=clock() // 10**6)
    kept = Kept(control.answer_ttl.ns, control.idempotency_window.ns)
    stand_in = StandIn(settings.budgets, kept, clock=clock)
    front = Front(listener, control, outside.announce)
    told = (seals, bell, IngestLine(), front, stand_in, Trouble())
    return House(data_dir, settings, outside, keys, authenticate, *told)
