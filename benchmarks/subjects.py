"""A folder in, a running thing to measure out: Spanward, and the OpenTelemetry Collector beside it."""

import json
import subprocess
import time
from pathlib import Path
from typing import Protocol

import httpx

from tests.harness import Served
from tests.integration.peers import free_port, wait_until_open

# Asking for metrics is work for the measured process, so not too often.
METRICS_EVERY_S = 0.1
FILE_EVERY_S = 0.02
FILE_QUIET_S = 0.5
STORED_S = 300


class Subject(Protocol):
    """Something that takes in spans and keeps them."""

    name: str
    pid: int
    key: str
    traces_url: str

    def when_stored(self, spans: int) -> float:
        """Wait until `spans` more than at the last call are stored: the moment, by `time.perf_counter`."""

    def finish(self) -> None:
        """Do whatever work storing them has put off."""

    def stop(self) -> None:
        """End, and keep nothing running."""


class Spanward:
    """`spanward serve` with its default settings, one agent key, and room for every hold unless told otherwise."""

    name = "Spanward"

    def __init__(self, folder: Path, *, daily_usd: str = "1000000") -> None:
        self._served = Served(folder / "spanward")
        self._served.start()
        self._served.stop()
        agent = self._served.data / "governance/default/default/agents/default.yaml"
        agent.write_text(f'budgets:\n  daily: {{usd: "{daily_usd}"}}\n', encoding="utf-8")
        self._served.start()
        self._stored = 0
        self.pid = self._served.pid
        self.key = self._served.agent_key
        self.traces_url = self._served.url("otlp_http", "/v1/traces")
        self.decisions_url = self._served.url("control", "/v1/decisions")

    def when_stored(self, spans: int) -> float:
        """Priced, attributed, deduplicated and fsynced in the journal, by Spanward's own count."""
        self._stored += spans
        deadline = time.perf_counter() + STORED_S
        while self._booked_rows() < self._stored:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{self._stored} spans were not booked in {STORED_S} s\n{self._served.log_tail()}")
            time.sleep(METRICS_EVERY_S)
        return time.perf_counter()

    def _booked_rows(self) -> float:
        text = httpx.get(self._served.url("metrics", "/metrics")).raise_for_status().text
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("spanward_booked_rows "))

    def finish(self) -> None:
        """Seal: everything booked becomes Parquet in the ledger."""
        self._served.seal()

    def completeness(self) -> dict[str, int]:
        """What came in and what became of it, as every report states it."""
        answer: dict[str, int] = self._served.report("spend")["completeness"]
        return answer

    def stop(self) -> None:
        """Drain and end."""
        self._served.stop()


class Collector:
    """The OpenTelemetry Collector writing OTLP protobuf with its file exporter, which does not fsync."""

    name = "OpenTelemetry Collector"
    key = ""

    def __init__(self, program: Path, folder: Path) -> None:
        folder.mkdir()
        self._file = folder / "spans.binpb"
        address = f"127.0.0.1:{free_port()}"
        config = {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": address}}}},
            "exporters": {"file": {"path": str(self._file), "format": "proto"}},
            "service": {
                "telemetry": {"logs": {"level": "error"}, "metrics": {"level": "none"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
            },
        }
        path = folder / "otelcol.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        log = folder / "otelcol.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen([program, "--config", path], stdout=output, stderr=output)
        self.pid = self._process.pid
        self.traces_url = f"http://{address}/v1/traces"
        wait_until_open(address, process=self._process, log=log)

    def when_stored(self, spans: int) -> float:
        """It writes before it acknowledges, so this only waits for the file to stop growing."""
        size, since = -1, time.perf_counter()
        while time.perf_counter() - since < FILE_QUIET_S:
            if self._file.stat().st_size != size:
                size, since = self._file.stat().st_size, time.perf_counter()
            time.sleep(FILE_EVERY_S)
        if size < spans:
            raise RuntimeError(f"{self.name} wrote {size} bytes for {spans} spans")
        return since

    def finish(self) -> None:
        """Nothing is put off."""

    def stop(self) -> None:
        """End it; its file goes with the folder."""
        self._process.terminate()
        self._process.wait()
