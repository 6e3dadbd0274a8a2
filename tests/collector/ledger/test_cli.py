"""The commands an auditor runs, on a ledger that a real collector wrote."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from collector.ledger.audit.findings import Report
from collector.ledger.audit.verify import Question, verify
from collector.ledger.note import parse_vkey
from collector.stores.directory import DirectoryStore
from tests.harness import SPANWARD, Served
from tests.house.source import ROOT
from tests.otlp import span, traces


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SPANWARD, *command], check=False, capture_output=True, text=True)


@pytest.fixture
def written(served: Served) -> Served:
    headers = {"content-type": "application/x-protobuf", "x-api-key": served.agent_key}
    body = traces(span(), span()).SerializeToString()
    httpx.post(served.url("otlp_http", "/v1/traces"), content=body, headers=headers).raise_for_status()
    served.stop()
    return served


def test_an_auditor_verifies_keeps_a_checkpoint_proves_a_row_and_notices_a_forgery(
    written: Served, tmp_path: Path
) -> None:
    store, root, kept = written.data / "store", written.data / "keys" / "root.vkey", tmp_path / "kept"
    assert root.stat().st_mode & 0o777 == 0o600
    place: list[str | Path] = ["--store", store, "--root-key", root]
    done = run("verify", *place, "--keep", kept)
    assert (done.returncode, "intact" in done.stdout) == (0, True), done.stdout
    assert run("verify", "--data", written.data, "--since", kept, "--shallow").returncode == 0

    row = written.report("activity", "--kind", "call")["rows"][0]
    proof = tmp_path / "proof"
    proof.write_text(run("ledger", "prove", row["entry_id"], *place).stdout)
    checked = run("ledger", "check-proof", proof, "--root-key", root)
    assert json.loads(checked.stdout)["entry_id"] == row["entry_id"], checked.stderr
    proof.write_text(proof.read_text().replace(row["entry_id"], row["entry_id"][::-1]))
    assert run("ledger", "check-proof", proof, "--root-key", root).returncode == 1
    assert run("ledger", "export", "--tlog", tmp_path / "tlog", *place).returncode == 0
    assert (tmp_path / "tlog" / "anchor" / "checkpoint").read_bytes() == kept.read_bytes()

    (data, *_) = sorted((store / "ledger/v1/events").rglob("*.parquet"))
    data.chmod(0o644)
    data.write_bytes(data.read_bytes()[:-1])
    done = run("verify", *place, "--json")
    assert done.returncode == 1
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["class"], finding["key"]) == ("altered", str(data.relative_to(store)))
    second = subprocess.run(
        [sys.executable, ROOT / "docs" / "second_verifier.py", store, root],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (second.returncode, str(data.relative_to(store)) in second.stdout) == (1, True), second.stderr


def test_what_cannot_be_read_is_neither_intact_nor_a_finding(written: Served, tmp_path: Path) -> None:
    root = written.data / "keys" / "root.vkey"
    (tmp_path / "no-key").write_text("no key")
    for arguments in (
        ["verify"],
        ["verify", "--data", tmp_path / "nothing"],
        ["verify", "--store", written.data / "store"],
        ["verify", "--store", written.data / "store", "--root-key", tmp_path / "no-key"],
        ["verify", "--data", written.data, "--since", root],
        ["verify", "--store", "s3://b?endpoint=http://127.0.0.1:1", "--root-key", root],
        ["ledger", "check-proof", tmp_path / "nothing", "--root-key", root],
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "Traceback" not in done.stderr


def test_another_process_can_write_the_anchor_and_a_key_can_be_changed_between_two_lives(written: Served) -> None:
    keys, store = written.data / "keys", written.data / "store"
    apart = written.data.with_name("anchor-keys")
    apart.mkdir()
    (apart / "root.vkey").write_bytes((keys / "root.vkey").read_bytes())
    (key,) = keys.glob("anchor.*.key")
    key.rename(apart / key.name)
    before = len(list((store / "ledger/v1/anchor/entry").iterdir()))
    anchored = run("ledger", "anchor", "--store", store, "--keys", apart, "--deployment", "spanward.local", "--once")
    assert anchored.returncode == 0, anchored.stderr
    writer = json.loads((written.data / "journal" / "writer.json").read_text())["writer"]
    assert run("ledger", "rotate", "--data", written.data, writer).returncode == 0
    assert run("ledger", "rotate", "--data", written.data, "root").returncode == 0
    assert run("ledger", "rotate", "--data", written.data, writer).returncode == 0
    written.restart()
    written.stop()
    assert len(list((store / "ledger/v1/anchor/entry").iterdir())) == before + 1, "the collector has no anchor key"
    assert len(list((store / "ledger/v1/trust").iterdir())) == 4
    done = run("verify", "--data", written.data)
    assert done.returncode == 0, done.stdout


def test_a_ledger_that_is_being_written_has_no_findings(serve: Callable[..., Served]) -> None:
    quick = {"exporters.ledger.seal_interval": "100ms", "exporters.ledger.seal_idle_interval": "100ms"}
    served = serve(settings=quick)
    headers = {"content-type": "application/x-protobuf", "x-api-key": served.agent_key}
    root = parse_vkey((served.data / "keys" / "root.vkey").read_text().strip())
    reports: list[Report] = []
    for _ in range(40):
        body = traces(*[span() for _ in range(20)]).SerializeToString()
        httpx.post(served.url("otlp_http", "/v1/traces"), content=body, headers=headers).raise_for_status()
        reports.append(verify(DirectoryStore(served.data / "store"), Question(root, time.time_ns())))
    assert [report.findings for report in reports if report.findings] == []
    assert reports[-1].segments > reports[0].segments
