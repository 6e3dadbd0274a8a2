"""A real store with Object Lock: what it refuses, what it lets happen, and that the ledger survives both."""

import io
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from collector.ledger.audit.verify import Question, verify
from collector.ledger.note import parse_vkey
from collector.sealing.journal import Journal
from collector.sealing.writer import RETRY, Config, LedgerWriter
from collector.stores import s3
from collector.stores.check import check
from collector.stores.contract import Exists
from collector.stores.opening import collectors_store
from collector.stores.s3 import S3Store
from schemas.errors import ConfigError, Fatal, Retryable
from tests.collector.ledger.samples import book, calls, register_of, root_key
from tests.collector.stores.gateway import Gateway
from tests.harness import SPANWARD, Served
from tests.otlp import span, traces

UNTIL = (int(time.time()) + 3600) * 10**9


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SPANWARD, *command], check=False, capture_output=True, text=True)


def test_a_store_that_keeps_its_promises_passes_every_needed_fact(gateway: Gateway) -> None:
    facts = check(S3Store(gateway.address("evidence")))
    assert [fact.name for fact in facts if fact.needed and not fact.holds] == []
    # Known of versitygw: a copy over itself changes metadata in place, which nothing of ours rests on.
    assert [fact.name for fact in facts if not fact.holds] == ["copying an object over itself leaves its version alone"]


def test_the_check_prints_its_table_and_says_by_its_exit_code_whether_the_store_passes(gateway: Gateway) -> None:
    done = run("store", "check", gateway.address("evidence"))
    assert done.returncode == 0, done.stderr
    assert "ok   a locked version cannot be deleted" in done.stdout
    assert "gap  copying an object" in done.stdout
    assert run("store", "check", gateway.address("plain")).returncode == 2


def test_serve_refuses_compliance_on_a_store_without_locks_and_on_a_folder(gateway: Gateway, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, Fatal, Retryable)):
        collectors_store(gateway.address("plain"), tmp_path, "compliance")
    with pytest.raises(ConfigError, match="a folder enforces no retention"):
        collectors_store("", tmp_path, "compliance")
    collectors_store(gateway.address("evidence/fresh"), tmp_path, "compliance")


def test_a_put_that_the_store_does_not_lock_stops_the_process(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "LOCK_MODE", "x-ignored-mode")
    monkeypatch.setattr(s3, "LOCK_UNTIL", "x-ignored-until")
    with pytest.raises(Fatal, match="does not keep it as it was told to"):
        S3Store(gateway.address("evidence/unlocked")).put_new("a", b"data", UNTIL)


def test_the_clients_private_request_keeps_its_form(gateway: Gateway) -> None:
    """`minio` has no public conditional put; if a release changes its request, this fails and not the ledger."""
    store = S3Store(gateway.address("evidence/pinned"))
    store.put_new("a", b"first", UNTIL)
    with pytest.raises(Exists):
        store.put_new("a", b"second", UNTIL)
    assert store.get("a") == b"first"


def test_the_first_version_counts_whatever_was_put_or_marked_over_it(gateway: Gateway) -> None:
    store = S3Store(gateway.address("evidence/versions"))
    store.put_new("a", b"first", UNTIL)
    for data in (b"second", b"third"):
        store.client.put_object("evidence", "versions/a", io.BytesIO(data), len(data))
    store.client.remove_object("evidence", "versions/a")
    (found,) = store.inventory("")
    assert (found.versions, found.hidden, store.get("a")) == (3, True, b"first")
    held = store.read(found)
    assert held is not None
    assert held.retain_until == UNTIL


@pytest.mark.parametrize("address", ["s3://", "s3:///x", "http://b", "s3://b?endpoint=ftp://x", "s3://b?endpoint=x"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="is not the address of a bucket"):
        S3Store(address)


def test_nothing_is_put_while_the_clocks_are_minutes_apart(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    store = S3Store(gateway.address("evidence/clocks"))
    store.put_new("a", b"data", UNTIL)
    real = time.time
    with monkeypatch.context() as later:
        later.setattr(time, "time", lambda: real() + 400)
        store.get("a")
    with pytest.raises(Retryable, match=r"-40\d s apart"):
        store.put_new("b", b"data", UNTIL)


class Collector:
    """Journal, writer and anchor over one store, with the machine's own clock."""

    def __init__(self, store: S3Store, folder: Path, name: str) -> None:
        self.journal = Journal(folder / name, committed_frame=0)
        register = register_of(self.journal, store, folder, time.time_ns)
        log = register.log(self.journal.writer_id)
        self.writer = LedgerWriter(store, self.journal, log, config=Config(), clock=time.time_ns)
        self.writer.recover()
        self.anchor = register.anchor()

    def book_and_seal(self, *ids: str) -> None:
        book(self.journal, calls(ids, at=time.time_ns()))
        self.writer.seal("test")


def findings(store: S3Store, folder: Path) -> list[str]:
    report = verify(store, Question(parse_vkey(root_key(folder)), time.time_ns()))
    return [each.kind for each in report.findings]


def test_two_writers_share_a_bucket_and_what_is_done_to_it_is_named(gateway: Gateway, tmp_path: Path) -> None:
    store = S3Store(gateway.address("evidence/two-writers"))
    one, two = Collector(store, tmp_path, "one"), Collector(store, tmp_path, "two")
    for number in range(3):
        one.book_and_seal(f"one-{number}")
        two.book_and_seal(f"two-{number}")
    assert one.anchor is not None
    one.anchor.write()
    assert findings(store, tmp_path) == []
    (data, *_) = store.list("ledger/v1/events/")
    store.client.put_object("evidence", f"two-writers/{data}", io.BytesIO(b"forged"), 6)
    assert findings(store, tmp_path) == ["rewritten"]
    store.client.remove_object("evidence", f"two-writers/{data}")
    assert findings(store, tmp_path) == ["hidden", "rewritten"]
    store.client.put_object("evidence", "two-writers/ledger/v1/events/stray", io.BytesIO(b"x"), 1)
    assert findings(store, tmp_path) == ["foreign", "hidden", "rewritten"]


def test_a_ledger_whose_objects_are_kept_for_less_than_promised_is_named(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3Store(gateway.address("evidence/short"))
    real = S3Store.put_new
    monkeypatch.setattr(S3Store, "put_new", lambda self, key, data, _: real(self, key, data, UNTIL))
    one = Collector(store, tmp_path, "one")
    one.book_and_seal("a")
    assert one.anchor is not None
    one.anchor.write()
    assert set(findings(store, tmp_path)) == {"retention"}


def test_a_second_process_under_a_writers_name_is_fenced(gateway: Gateway, tmp_path: Path) -> None:
    store = S3Store(gateway.address("evidence/fenced"))
    one = Collector(store, tmp_path, "one")
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "writer.json").write_bytes((tmp_path / "one" / "writer.json").read_bytes())
    clone = Collector(store, tmp_path, "clone")
    one.book_and_seal("a")
    with pytest.raises(Fatal, match="is not what this writer would put there"):
        clone.book_and_seal("b")
    assert "rewritten" not in findings(store, tmp_path)


def test_rows_wait_while_the_store_is_dead_and_are_sealed_when_it_is_back(gateway: Gateway, tmp_path: Path) -> None:
    store = S3Store(gateway.address("evidence/outage"))
    one = Collector(store, tmp_path, "one")
    one.book_and_seal("before")
    gateway.kill()
    try:
        for number in range(3):
            with pytest.raises(Retryable):
                one.book_and_seal(f"meanwhile-{number}")
    finally:
        gateway.start()
    one.writer.seal(RETRY)
    assert one.anchor is not None
    one.anchor.write()
    report = verify(store, Question(parse_vkey(root_key(tmp_path)), time.time_ns()))
    assert (report.findings, report.segments, report.rows) == ([], 4, 8)


def test_a_collector_on_a_bucket_is_verified_from_the_bucket_and_a_public_key(
    gateway: Gateway, serve: Callable[..., Served]
) -> None:
    url = gateway.address("evidence/served")
    served = serve(settings={"exporters.ledger.store": url, "exporters.ledger.mode": "compliance"})
    headers = {"content-type": "application/x-protobuf", "x-api-key": served.agent_key}
    body = traces(span(), span()).SerializeToString()
    httpx.post(served.url("otlp_http", "/v1/traces"), content=body, headers=headers).raise_for_status()
    served.stop()
    done = run("verify", "--store", url, "--root-key", str(served.data / "keys" / "root.vkey"), "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["findings"], report["writers"]) == (0, [], 1), done.stderr
    assert report["rows"] >= 2
    assert served.report("spend")["rows"][0]["calls"] == 2
