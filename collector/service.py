"""Config → a running collector. The composition root: the only file that knows everyone.

Start order is recovery order: the owner says what was committed, the journal forgets what was not,
an interrupted seal is finished, and only then do the doors open. Stop is the reverse: doors close,
what was acknowledged is booked and sealed, the owner ends last.
"""

import asyncio
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from collector.access.bootstrap import BootstrapResult, access_path, bootstrap, write_bootstrap
from collector.access.durable_file import create_file, replace_file
from collector.access.keys import KeyStore
from collector.accounting.account import Account
from collector.config import Config, pricing_settings
from collector.control.link import OwnerLink
from collector.dialects import DIALECTS
from collector.dialects.dialect import wanted_keys
from collector.frames import FrameLog
from collector.http import App, HttpServer, Receive, Scope, Send, address, bind, respond, split_endpoint
from collector.ledger.reader import Evidence
from collector.pipeline import Booker, Parts
from collector.processing import Processing
from collector.processors.dedupe import DedupeWindow
from collector.processors.price_book import price_book
from collector.receivers.builders import builder_factory
from collector.receivers.commit_group import CommitGroup, Hooks, Sender
from collector.receivers.otlp_grpc import OtlpGrpc
from collector.receivers.otlp_http import OtlpHttp
from collector.sealing.journal import Journal
from collector.sealing.keys import Keyring
from collector.sealing.register import Register
from collector.sealing.writer import LedgerWriter
from collector.stores.opening import collectors_store
from collector.telemetry import Telemetry
from schemas.booking import Position, Resume
from schemas.errors import ConfigError, Forbidden, SpanwardError, Unauthenticated
from schemas.quantities import write_quantity

_OWNER_START_S = 30.0
_DEDUPE_KEY = "state/dedupe.key"


class Owner:
    """The child process that owns budgets, holds and the control endpoint."""

    def __init__(self, data_dir: Path, config: Config, operator_token: str) -> None:
        pairs = [socket.socketpair() for _ in range(2)]
        inherited = [child.fileno() for _, child in pairs]
        self.booking, self.poll = (OwnerLink(parent) for parent, _ in pairs)
        self.pricing = pricing_settings(config)
        """The prices that decisions are quoted at, so that calls are costed at the same."""
        settings = {
            "control": config.extensions.control,
            "budgets": config.processors.budgets,
            "adherence": config.processors.adherence,
            "pricing": self.pricing,
            "notifications": config.extensions.notifications,
            "dedupe_keys": config.processors.dedupe.max_keys,
            "operator_token": operator_token,
        }
        command = [sys.executable, "-P", "-m", "collector.control", "--data", str(data_dir)]
        self._process = subprocess.Popen(
            [*command, "--fd", ",".join(map(str, inherited))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=inherited,
            # Ctrl-C reaches the whole group: only this process decides when the owner ends. The session is the
            # same, because kernels with autogroups weigh niceness within a session only.
            process_group=0,
        )
        for _, child in pairs:
            child.close()
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(settings, enc_hook=write_quantity))
        self._process.stdin.close()
        self.endpoints = self._ready()
        """`control`, and `control_grpc` unless that door is closed."""

    def stop(self) -> None:
        """End the process once nothing needs it any more."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ready(self) -> dict[str, str]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(timeout=_OWNER_START_S)
            raise ConfigError("The control process did not start.", fix="Its own message stands above this one.")
        return msgspec.json.decode(line, type=dict[str, str])


class Ingest:
    """Spool, booker and ledger of one data directory, without doors: what `spanward seal` needs too."""

    def __init__(
        self,
        data_dir: Path,
        config: Config,
        owner: Owner,
        *,
        clock: Callable[[], int],
        on_fatal: Callable[[SpanwardError], None],
    ) -> None:
        spool = config.processors.spool
        position = owner.booking.request(Resume())
        assert isinstance(position, Position)
        self.spool = FrameLog(
            data_dir / "spool", segment_bytes=spool.segment_bytes.bytes, max_bytes=spool.max_bytes.bytes,
            limit_name="processors.spool.max_bytes",
        )  # fmt: skip
        self.journal = Journal(data_dir / "journal", committed_frame=position.journal_frame)
        settings = config.exporters.ledger
        store = collectors_store(settings.store, data_dir / "store", settings.mode)
        keyring = Keyring(data_dir / "keys", config.service.deployment)
        register = Register(
            store, keyring, memory=data_dir / "journal", clock=clock, retention_ns=settings.retention_ns
        )
        log = register.open(self.journal.writer_id)
        self.writer = LedgerWriter(store, self.journal, log, config=settings, clock=clock)
        self.writer.recover()
        window = DedupeWindow(max_keys=config.processors.dedupe.max_keys, secret=_dedupe_secret(data_dir))
        window.remember(position.dedupe)
        book = price_book(owner.pricing, config.processors.budgets)
        processing = Processing(window, self._account(config, data_dir, clock), book, clock)
        parts = Parts(self.spool, self.journal, self.writer, owner.booking, owner.poll, processing, register.anchor())
        self.booker = Booker(parts, position.spool_frame, clock=clock, on_fatal=on_fatal)

    def _account(self, config: Config, data_dir: Path, clock: Callable[[], int]) -> Account:
        """What was booked lately, from the newest entries of this writer, sealed or not."""
        account = Account(config.processors.accounting, clock)
        pending = self.journal.pending_tables()
        wanted = config.processors.accounting.max_records - sum(map(len, pending))
        newest = self.journal.cuts[-1].k if self.journal.cuts else -1
        sealed = Evidence(data_dir / "store").newest_rows(self.journal.writer_id, newest, wanted)
        account.restore([*(table.drop_columns(["seq"]) for table in sealed), *pending])
        return account

    def close(self) -> None:
        """Give the data directory free."""
        self.spool.close()
        self.journal.close()


class Service:
    """A collector with its doors. `run` returns once a signal or a fatal error ended it."""

    def __init__(self, data_dir: Path, config: Config) -> None:
        self._data_dir = data_dir
        self._config = config
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._accepting = False
        self._telemetry = Telemetry()
        self.fatal: SpanwardError | None = None

    async def run(self, announce: Callable[[dict[str, str], BootstrapResult | None], None]) -> None:
        """Serve; `announce` is told the endpoints, and on a first start the keys, once requests are accepted."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        created = bootstrap(self._data_dir, clock=time.time_ns)
        async with AsyncExitStack() as stack:
            owner = start_owner(self._data_dir, self._config)
            stack.callback(owner.stop)
            ingest = Ingest(self._data_dir, self._config, owner, clock=time.time_ns, on_fatal=self._on_fatal)
            stack.callback(ingest.close)
            ingest.booker.start()
            endpoints = await self._open_doors(ingest, owner, stack)
            # The keys first: whoever waits for the endpoints may then use both.
            if created is not None:
                write_bootstrap(self._data_dir, created, endpoints)
            replace_file(self._data_dir / "endpoints.json", msgspec.json.encode(endpoints), mode=0o600)
            self._accepting = True
            announce(endpoints, created)
            await self._stop.wait()

    async def _open_doors(self, ingest: Ingest, owner: Owner, stack: AsyncExitStack) -> dict[str, str]:
        """Start every listener; the stack closes them in reverse and drains in between."""
        config = self._config.receivers.otlp
        keys = KeyStore(access_path(self._data_dir), clock=time.time_ns)
        stack.callback(keys.close)
        hooks = Hooks(clock=time.time_ns, durable=ingest.booker.wake, fatal=self._on_fatal)
        group = CommitGroup(ingest.spool, builder_factory(config.decoder), wanted_keys(DIALECTS), config, hooks)
        group.start()
        self._watch(ingest)
        stack.push_async_callback(self._drain, ingest, group)
        authenticate = sender_of(keys)
        http = OtlpHttp(group, authenticate, config.limits, self._telemetry.door("http"))
        grpc = OtlpGrpc(group, authenticate, config.limits, self._telemetry.door("grpc"))
        extensions, metrics = self._config.extensions, self._config.service.telemetry.metrics
        endpoints = {
            "otlp_http": await _listen(
                http, config.protocols.http.endpoint, "receivers.otlp.protocols.http.endpoint", stack
            ),
            "otlp_grpc": await _listen_grpc(grpc, config.protocols.grpc.endpoint, stack),
            **owner.endpoints,
        }
        for name, app, endpoint, setting in (
            ("health", self._health, extensions.health_check.endpoint, "extensions.health_check.endpoint"),
            ("metrics", self._metrics, metrics.endpoint, "service.telemetry.metrics.endpoint"),
        ):
            endpoints[name] = await _listen(app, endpoint, setting, stack)
        return endpoints

    async def _drain(self, ingest: Ingest, group: CommitGroup) -> None:
        """Answer what came in, then book and seal it; what is left over follows at the next start."""
        self._accepting = False
        await asyncio.to_thread(group.stop)
        if self.fatal is None:
            await asyncio.to_thread(ingest.booker.drain, self._config.service.drain_timeout.seconds)

    def _watch(self, ingest: Ingest) -> None:
        spool, booker, journal = ingest.spool, ingest.booker, ingest.journal
        self._telemetry.watch(
            {
                "spanward_spool_bytes": ("Disk taken by rows that wait to be booked.", lambda: spool.bytes),
                "spanward_spool_frames": (
                    "Commit groups that wait to be booked.",
                    lambda: spool.durable - booker.position,
                ),
                "spanward_booked_rows": ("Rows booked since this start.", lambda: booker.booked_rows),
                "spanward_journal_rows": ("Booked rows that wait to be sealed.", lambda: journal.pending_rows),
            }
        )

    async def _health(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        status, text = (200, b"OK\n") if self._accepting and self.fatal is None else (503, b"not accepting requests\n")
        await respond(send, status, text, [(b"content-type", b"text/plain")])

    async def _metrics(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        kind = b"text/plain; version=1.0.0; charset=utf-8"
        await respond(send, 200, self._telemetry.exposition(), [(b"content-type", kind)])

    def _on_fatal(self, error: SpanwardError) -> None:
        """Remember the first fatal error and stop. Callable from any thread."""
        self.fatal = self.fatal or error
        self._loop.call_soon_threadsafe(self._stop.set)


def start_owner(data_dir: Path, config: Config) -> Owner:
    """The owner with a fresh operator token, which lets this machine's own commands speak to it."""
    operator_token = secrets.token_urlsafe(32)
    replace_file(data_dir / "operator.token", operator_token.encode(), mode=0o600)
    return Owner(data_dir, config, operator_token)


def sender_of(keys: KeyStore) -> Callable[[str], Sender]:
    """How the OTLP doors turn a key into a sender."""

    def authenticate(text: str) -> Sender:
        if not text:
            raise Unauthenticated(
                "The request carries no credential.",
                fix="Send the agent's or its tenant's key, for example with OTEL_EXPORTER_OTLP_HEADERS=x-api-key=KEY.",
            )
        credential = keys.authenticate(text)
        if credential.kind == "admin":
            raise Forbidden(
                "This is an admin token; telemetry is sent with an agent's or a tenant's key.",
                fix="Create one with: spanward keys create --agent ORG/TENANT/AGENT, or --tenant ORG/TENANT.",
            )
        return Sender(credential.path(), credential.id)

    return authenticate


async def _listen(app: App, endpoint: str, setting: str, stack: AsyncExitStack) -> str:
    listener = bind(endpoint, setting=setting)
    server = HttpServer(app, listener)
    await server.start()
    stack.push_async_callback(server.stop)
    return f"http://{address(listener)}"


async def _listen_grpc(server: OtlpGrpc, endpoint: str, stack: AsyncExitStack) -> str:
    setting = "receivers.otlp.protocols.grpc.endpoint"
    host, _ = split_endpoint(endpoint, setting=setting)
    try:
        port = await server.start(endpoint)
    except RuntimeError:
        raise ConfigError(
            f"{setting}: cannot listen on {endpoint}.", fix="Stop what uses the port, or choose another with --set."
        ) from None
    stack.push_async_callback(server.stop)
    return f"{host}:{port}"


def _dedupe_secret(data_dir: Path) -> bytes:
    """The key of the dedupe hash, made once a data directory."""
    path = data_dir / _DEDUPE_KEY
    create_file(path, secrets.token_bytes(16), mode=0o600)
    return path.read_bytes()
