"""`spanward doctor` on a running, a stopped and a damaged collector."""

import json
from pathlib import Path

import httpx
from click.testing import CliRunner

from analytics.doctor import doctor
from tests.analytics.written import Written, call
from tests.harness import Served
from tests.otlp import metrics, metrics_of, span, token_usage, traces


def test_it_says_that_everything_received_is_accounted_for(served: Served) -> None:
    headers = {"content-type": "application/x-protobuf", "x-api-key": served.agent_key}
    body = traces(span(), span()).SerializeToString()
    points = metrics_of(token_usage(), *metrics(3).resource_metrics[0].scope_metrics[0].metrics).SerializeToString()
    for _ in range(2):
        httpx.post(served.url("otlp_http", "/v1/traces"), content=body, headers=headers).raise_for_status()
        httpx.post(served.url("otlp_http", "/v1/metrics"), content=points, headers=headers).raise_for_status()
    served.seal()
    said = served.run("doctor")
    assert "received 4 = stored 2 + duplicate 2 + rejected 0" in said
    assert "Metric points received 8 = stored 1 + duplicate 1 + rejected 0 + not stored 6." in said
    assert "BAD" not in said
    assert "0 commit groups wait to be booked" in said
    served.stop()
    assert "None runs on this data directory" in served.run("doctor")


def test_a_ledger_with_a_hole_is_bad(ledger: Written) -> None:
    for agent in ("a", "b", "c"):
        ledger.book(call(agent))
        ledger.seal()
    entry = next(path for path in Path(ledger.data_dir).rglob("entry/000000000001"))
    entry.unlink()
    result = CliRunner().invoke(doctor, ["--data", str(ledger.data_dir), "--json"])
    assert result.exit_code == 1
    bad = [finding for finding in json.loads(result.output) if not finding["ok"]]
    assert [finding["name"] for finding in bad] == ["ledger"]
    assert "000000000001 is missing" in bad[0]["message"]
