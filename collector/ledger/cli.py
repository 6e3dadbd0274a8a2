"""`spanward verify` and `spanward ledger`: a store and a public key in, what is wrong or proven out.

Exit codes of `verify` and `check-proof`: 0 intact, 1 findings, 2 it could not be read.
"""

import sys
import time
from pathlib import Path
from typing import BinaryIO, NoReturn

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from collector.ledger.audit.export import export_tlog
from collector.ledger.audit.findings import MEANINGS, Report
from collector.ledger.audit.proof import Proof, check, prove
from collector.ledger.audit.verify import Question
from collector.ledger.audit.verify import verify as verify_ledger
from collector.ledger.note import Checkpoint, Vkey, parse_checkpoint, parse_vkey
from collector.stores.directory import DirectoryStore
from collector.stores.opening import open_store
from collector.stores.s3 import S3Store
from schemas.errors import ConfigError, Permanent, SpanwardError

EXIT_FINDINGS = 1
EXIT_UNREADABLE = 2
_SHOWN = 50


def place_options(command: click.decorators.FC) -> click.decorators.FC:
    """`--data` or `--store`, and `--root-key`: where a ledger is and who vouches for it."""
    for option in (
        click.option("--root-key", type=click.Path(path_type=Path), help="File with the root public key."),
        click.option("--store", "url", help="s3://BUCKET/PREFIX?endpoint=URL, or a folder."),
        click.option("--data", "data_dir", type=click.Path(path_type=Path), help="Data directory, for its own store."),
    ):
        command = option(command)
    return command


@click.command()
@place_options
@click.option("--since", type=click.Path(path_type=Path), help="A checkpoint you kept: it must be a beginning of this.")
@click.option("--new-only", is_flag=True, help="With --since: do not read data again that the checkpoint covers.")
@click.option("--keep", type=click.Path(path_type=Path), help="Write the newest checkpoint here, for the next time.")
@click.option("--deep/--shallow", default=True, help="Recompute every row, or trust the files' hashes.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def verify(  # noqa: PLR0913 - one a command-line option
    data_dir: Path | None,
    url: str | None,
    root_key: Path | None,
    since: Path | None,
    keep: Path | None,
    *,
    new_only: bool,
    deep: bool,
    as_json: bool,
) -> None:
    """Say whether the ledger is whole, as somebody who trusts nobody: from the store and one public key."""
    try:
        store, root = _place(data_dir, url, root_key)
        kept = None if since is None else _kept(since)
        with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
            task = progress.add_task("rows", total=None)
            question = Question(root, time.time_ns(), deep, kept, new_only, lambda rows: progress.advance(task, rows))
            report = verify_ledger(store, question)
        if keep is not None and report.intact:
            keep.write_text(report.checkpoint)
    except (SpanwardError, OSError) as error:
        _unreadable(error)
    click.echo(_as_json(report) if as_json else _as_text(report))
    sys.exit(0 if report.intact else EXIT_FINDINGS)


@click.group()
def ledger() -> None:
    """Prove single entries, export logs, look after keys."""


@ledger.command("prove")
@click.argument("entry")
@place_options
@click.option("--output", type=click.File("wb"), default="-", help="Where the proof goes.")
def prove_entry(entry: str, data_dir: Path | None, url: str | None, root_key: Path | None, output: BinaryIO) -> None:
    """Make one file that proves ENTRY, an entry_id or WRITER:SEQ, and reveals nothing else."""
    try:
        store, root = _place(data_dir, url, root_key)
        proof = prove(store, entry)
        check(proof, root)
    except (SpanwardError, OSError) as error:
        _unreadable(error)
    output.write(msgspec.json.format(msgspec.json.encode(proof), indent=1) + b"\n")


@ledger.command("check-proof")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--root-key", type=click.Path(path_type=Path), required=True, help="File with the root public key.")
def check_proof(file: Path, root_key: Path) -> None:
    """Check a proof, offline, and print the row that it proves."""
    try:
        root = _root_key(root_key)
        raw = file.read_bytes()
    except (SpanwardError, OSError) as error:
        _unreadable(error)
    try:
        proven = check(msgspec.json.decode(raw, type=Proof), root)
    except (Permanent, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        click.echo(f"The file proves nothing: {error}", err=True)
        sys.exit(EXIT_FINDINGS)
    entry = proven.entry
    click.echo(msgspec.json.encode({name: value for name, value in proven.row.items() if value is not None}))
    click.echo(f"Proven: in segment {entry.k} of {entry.origin}, one of {proven.size} that were signed.", err=True)


@ledger.command("export")
@click.option("--tlog", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write, one per log.")
@place_options
def export(folder: Path, data_dir: Path | None, url: str | None, root_key: Path | None) -> None:
    """Write every signed log as C2SP tlog-tiles, for verifiers that are not ours."""
    try:
        store, root = _place(data_dir, url, root_key)
        report_logs = sorted({key.split("/")[3] for key in store.list("ledger/v1/log/")} | {"anchor"})
        for log in report_logs:
            size = export_tlog(store, log, folder / log)
            click.echo(f"{folder / log}: {size} entries", err=True)
        (folder / "root.vkey").write_text(f"{root}\n")
    except (SpanwardError, OSError) as error:
        _unreadable(error)


def _place(data_dir: Path | None, url: str | None, root_key: Path | None) -> tuple[DirectoryStore | S3Store, Vkey]:
    if (data_dir is None) == (url is None) or (data_dir is None and root_key is None):
        raise ConfigError("Give either --data, or --store with --root-key.")
    store = DirectoryStore(data_dir / "store") if data_dir is not None else open_store(url or "")
    return store, _root_key(root_key or (data_dir or Path()) / "keys" / "root.vkey")


def _root_key(path: Path) -> Vkey:
    return parse_vkey(path.read_text().strip())


def _kept(path: Path) -> Checkpoint:
    try:
        return parse_checkpoint(path.read_bytes().rpartition(b"\n\n")[0] + b"\n")
    except Permanent as error:
        raise ConfigError(f"{path} is not a checkpoint: {error.what}.") from None


def _as_json(report: Report) -> bytes:
    findings = [
        {"class": each.kind, "key": each.key, "message": each.message, "meaning": MEANINGS[each.kind]}
        for each in report.findings
    ]
    plain = msgspec.to_builtins(report)
    return msgspec.json.encode({"intact": report.intact, **plain, "findings": findings})


def _as_text(report: Report) -> str:
    lines = [f"{each.kind:10} {each.key}: {each.message} ({MEANINGS[each.kind]})" for each in report.findings[:_SHOWN]]
    if len(report.findings) > _SHOWN:
        lines.append(f"… and {len(report.findings) - _SHOWN:,} more; --json has all")
    lines += [f"note: {each.kind} {each.key}: {each.message}" for each in report.notices[:_SHOWN]]
    lines.append(
        f"{'intact' if report.intact else f'{len(report.findings):,} FINDINGS'}: {report.rows:,} rows in "
        f"{report.segments:,} segments of {report.writers} writers, {report.anchors:,} anchors, "
        f"{report.objects:,} objects"
    )
    if report.intact and report.checkpoint:
        lines += ["", "Keep this checkpoint; the next verification compares with it by --since:", report.checkpoint]
    return "\n".join(lines)


def _unreadable(error: Exception) -> NoReturn:
    text = error.diagnostics() if isinstance(error, SpanwardError) else f"{error}."
    click.echo(f"Error: {text}", err=True)
    sys.exit(EXIT_UNREADABLE)
