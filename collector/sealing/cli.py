"""`spanward ledger`: the auditor's commands, and those that need private keys: anchor, rotate."""

import time
from pathlib import Path

import click

from collector.ledger.cli import ledger
from collector.sealing.anchor import INTERVAL_NS
from collector.sealing.keys import Keyring
from collector.sealing.register import Register
from collector.stores.directory import DirectoryStore
from collector.stores.opening import open_store
from schemas.errors import ConfigError, SpanwardError

_RETENTION_NS = 366 * 86_400 * 10**9

__all__ = ["ledger"]


@ledger.command("anchor")
@click.option("--store", "url", required=True, help="s3://BUCKET/PREFIX?endpoint=URL, or a folder.")
@click.option("--keys", type=click.Path(path_type=Path), required=True, help="Folder with root.vkey and anchor.*.key.")
@click.option("--deployment", required=True, help="The service.deployment of the collectors.")
@click.option("--once", is_flag=True, help="Write one entry and end.")
def anchor_process(url: str, keys: Path, deployment: str, *, once: bool) -> None:
    """Write the anchor every minute, as another process and user than the collectors, which then need no anchor key."""
    try:
        keyring = Keyring(keys, deployment)
        register = Register(open_store(url), keyring, memory=keys, clock=time.time_ns, retention_ns=_RETENTION_NS)
        anchor = register.anchor() if register.chain.newest else None
        if anchor is None:
            raise ConfigError(f"{keys} has no key of the anchor.", fix="Move anchor.*.key there from the collector.")
        while True:
            anchor.write()
            if once:
                return
            time.sleep(INTERVAL_NS / 10**9)
    except SpanwardError as error:
        raise click.ClickException(error.diagnostics()) from None


@ledger.command("rotate")
@click.option("--data", "data_dir", type=click.Path(path_type=Path), required=True, help="Data directory, not in use.")
@click.option("--deployment", default="spanward.local", show_default=True, help="Its service.deployment.")
@click.argument("log")
def rotate(data_dir: Path, deployment: str, log: str) -> None:
    """Give LOG (a writer's id, anchor or root) a new key from its next checkpoint on. Stop the collector first."""
    try:
        keyring = Keyring(data_dir / "keys", deployment)
        store = DirectoryStore(data_dir / "store")
        register = Register(store, keyring, memory=data_dir / "journal", clock=time.time_ns, retention_ns=_RETENTION_NS)
        register.rotate(log)
    except SpanwardError as error:
        raise click.ClickException(error.diagnostics()) from None
