"""`spanward.yaml`, `--set` and defaults → one checked `Config`.

The shape is the OpenTelemetry Collector's: receivers, processors, exporters, extensions, service.
Each component owns its settings beside its code; this module only gathers them. An unknown key is an
error that names file, line, path and the nearest known key; `${env:NAME}` and `${env:NAME:-default}`
are replaced before anything is read. Defaults need no file.
"""

import os
import re
from pathlib import Path

import click
import msgspec
import yaml

from collector.access.yaml_file import Node, bind, read_yaml
from collector.accounting.account import Config as AccountingConfig
from collector.control.doors.config import Config as ControlConfig
from collector.governance.adherence.config import Config as AdherenceConfig
from collector.governance.budgets import Config as BudgetsConfig
from collector.notifications.config import Config as NotificationsConfig
from collector.pricing.config import Config as PricingConfig
from collector.pricing.config import Settings as PricingSettings
from collector.pricing.overlay import OverlayFile, Row, Written
from collector.pricing.rate import MAX_TOKENS
from collector.processors.price_book import price_book
from collector.receivers.config import Config as OtlpConfig
from collector.receivers.config import Endpoint
from collector.sealing.writer import Config as LedgerConfig
from schemas.errors import ConfigError, SpanwardError
from schemas.quantities import Duration, Size

_MAX_NESTING = 12
_ENV = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class Receivers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Doors telemetry comes in by."""

    otlp: OtlpConfig = OtlpConfig()
    """OTLP over gRPC and HTTP."""


class DedupeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Recognising rows that were delivered before."""

    max_keys: int = 1_000_000
    """How many of the newest rows are remembered, at about 150 bytes of memory each."""


class SpoolConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The acknowledged, not yet booked rows on disk."""

    max_bytes: Size = Size("10GiB")
    """Most disk the spool may take. When it is full requests are refused with a retryable status."""
    segment_bytes: Size = Size("64MiB")
    """Size of one file of the spool; a file is deleted once all of it is booked."""


class Processors(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What happens to rows between a door and the ledger."""

    spool: SpoolConfig = SpoolConfig()
    """Durability before the acknowledgement."""
    dedupe: DedupeConfig = DedupeConfig()
    """Once-only booking."""
    accounting: AccountingConfig = AccountingConfig()
    """Recognising the records of one call."""
    pricing: PricingConfig = PricingConfig()
    """What calls cost."""
    budgets: BudgetsConfig = BudgetsConfig()
    """Holds, limits and what happens when a price or a span is missing."""
    adherence: AdherenceConfig = AdherenceConfig()
    """Matching decisions with the calls that ran."""


class Exporters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where entries go."""

    ledger: LedgerConfig = LedgerConfig()
    """The Parquet ledger."""


class HealthConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Liveness for orchestrators."""

    endpoint: str = "127.0.0.1:13133"
    """`GET /` answers 200 while requests are accepted, 503 otherwise."""


class Extensions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Doors that are not telemetry's, and whom to tell."""

    control: ControlConfig = ControlConfig()
    """Decisions, holds, budgets."""
    health_check: HealthConfig = HealthConfig()
    """Liveness."""
    notifications: NotificationsConfig = NotificationsConfig()
    """Whom to tell of budgets, kills and findings."""


class Telemetry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the collector says about itself."""

    metrics: Endpoint = Endpoint(endpoint="127.0.0.1:8888")
    """Prometheus metrics, in the OpenTelemetry Collector's names where it has one."""


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The process."""

    deployment: str = "spanward.local"
    """Name of this deployment. It is part of the origin of every ledger entry, for ever: choose it before the first."""
    telemetry: Telemetry = Telemetry()
    """Its own metrics."""
    drain_timeout: Duration = Duration("30s")
    """Longest a stop may take to book and seal what was acknowledged; the rest follows at the next start."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All settings of one collector."""

    receivers: Receivers = Receivers()
    """Doors telemetry comes in by."""
    processors: Processors = Processors()
    """What happens to it."""
    exporters: Exporters = Exporters()
    """Where entries go."""
    extensions: Extensions = Extensions()
    """Other doors."""
    service: ServiceConfig = ServiceConfig()
    """The process itself."""


def load(path: Path | None, overrides: tuple[str, ...] = ()) -> Config:
    """The configuration in `path` with `--set path.to.key=value` laid over it; raises `ConfigError`."""
    node = Node(1, {}) if path is None else _read(path)
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise ConfigError(
                f"--set {override!r} is not KEY=VALUE.", fix="Write --set receivers.otlp.group_items=1000."
            )
        node = _with(node, key.split("."), value)
    config = bind(_expand(node, str(path)), Config, place=str(path) if path else "--set")
    config.processors.budgets.check()
    return _anchored(config, path) if path and config.processors.pricing.overlay else config


def dump(config: Config) -> str:
    """The configuration as YAML, defaults included, secrets masked."""
    plain = msgspec.to_builtins(config, enc_hook=repr, builtin_types=(int, bool))
    return yaml.safe_dump(plain, sort_keys=False, default_flow_style=False)


def pricing_settings(config: Config) -> PricingSettings:
    """What the price book of this configuration is made of; reads the overlay file. Raises `ConfigError`."""
    pricing = config.processors.pricing
    counts = (pricing.estimate_input_tokens, pricing.estimate_output_tokens)
    if not all(0 <= count <= MAX_TOKENS for count in counts):
        raise ConfigError(
            f"processors.pricing: an estimate of {counts[0]} input and {counts[1]} output tokens is not a call.",
            fix=f"Both are from 0 to {MAX_TOKENS}.",
        )
    return PricingSettings(
        rows=load_overlay(Path(pricing.overlay)) if pricing.overlay else (),
        deployments=pricing.deployments,
        estimate=counts if pricing.unmetered == "estimate" else None,
    )


def load_overlay(path: Path) -> tuple[Written, ...]:
    """The rows of a price overlay, each with its place; raises `ConfigError` naming the line."""
    node = _read(path, "Check processors.pricing.overlay.")
    inner = node.value.get("rows") if isinstance(node.value, dict) else None
    rows = inner.value if inner is not None and isinstance(inner.value, list) else []
    written = tuple(Written(f"{path}:{row.line}", bind(row, Row, place=str(path))) for row in rows)
    # Row by row for their lines; whatever else stands in the file is wrong in the usual words.
    bind(node, OverlayFile, place=str(path))
    return written


def _anchored(config: Config, path: Path) -> Config:
    """The overlay's path from the directory of the file that names it, wherever the process is started."""
    overlay = str((path.parent / (config.processors.pricing.overlay or "")).absolute())
    pricing = msgspec.structs.replace(config.processors.pricing, overlay=overlay)
    processors = msgspec.structs.replace(config.processors, pricing=pricing)
    return msgspec.structs.replace(config, processors=processors)


def _read(path: Path, fix: str = "Check the path given to --config.") -> Node:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.", fix=fix) from None
    node = read_yaml(content, place=str(path), max_nesting=_MAX_NESTING)
    return node if node.value is not None else Node(1, {})


def _with(node: Node, path: list[str], value: str) -> Node:
    """`node` with one value replaced or added."""
    if not path:
        return Node(node.line, value)
    children = dict(node.value) if isinstance(node.value, dict) else {}
    children[path[0]] = _with(children.get(path[0], Node(node.line, None)), path[1:], value)
    return Node(node.line, children)


def _expand(node: Node, place: str) -> Node:
    if isinstance(node.value, dict):
        return Node(node.line, {key: _expand(child, place) for key, child in node.value.items()})
    if isinstance(node.value, list):
        return Node(node.line, [_expand(child, place) for child in node.value])
    if node.value is None or "$" not in node.value:
        return node

    def replace(match: re.Match[str]) -> str:
        value = os.environ.get(match.group(1), match.group(2))
        if value is None:
            raise ConfigError(
                f"{place}:{node.line}: the environment has no {match.group(1)}.",
                fix=f"Set it, or write ${{env:{match.group(1)}:-default}}.",
            )
        return value

    return Node(node.line, _ENV.sub(replace, node.value).replace("$$", "$"))


def config_options(command: click.decorators.FC) -> click.decorators.FC:
    """`--config` and `--set`, as every command that reads the configuration takes them."""
    command = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one key, by its path.")(
        command
    )
    return click.option(
        "--config", "config_path", type=click.Path(path_type=Path), help="spanward.yaml; defaults need none."
    )(command)


@click.command()
@config_options
def validate(config_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Check the configuration and the price overlay it names."""
    config = load_or_exit(config_path, overrides)
    try:
        price_book(pricing_settings(config), config.processors.budgets)
    except SpanwardError as error:
        raise click.ClickException(error.diagnostics()) from None
    click.echo("The configuration is valid.", err=True)


@click.command("print-config")
@config_options
def print_config(config_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Print the configuration with defaults, secrets masked."""
    click.echo(dump(load_or_exit(config_path, overrides)), nl=False)


def load_or_exit(config_path: Path | None, overrides: tuple[str, ...]) -> Config:
    """`load` for the command line: an error ends the command with one sentence, exit code 1."""
    try:
        return load(config_path, overrides)
    except SpanwardError as error:
        raise click.ClickException(error.diagnostics()) from None
