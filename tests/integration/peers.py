"""Addresses in, running peers out: the agent, the OpenTelemetry Collector and telemetrygen."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.harness import Served
from tests.house.source import ROOT

PEER_S = 120


def run_agent(*, protocol: str, endpoint: str, key: str, openai_base_url: str) -> None:
    """Run `tests.integration.openai_agent` to its end, exporting to `endpoint`."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_INSECURE": "true",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{key}" if key else "",
        "OPENAI_BASE_URL": openai_base_url,
        "OPENAI_API_KEY": "none-needed",
    }
    _run([sys.executable, "-m", "tests.integration.openai_agent"], env=environment)


def generate(program: Path, *, endpoint: str, key: str = "", arguments: tuple[str, ...] = ()) -> None:
    """Run telemetrygen's traces against `endpoint` (HOST:PORT) until it has sent everything.

    Its own batching is off: at full rate it loses spans before they leave the generator.
    """
    header = ["--otlp-header", f'authorization="Bearer {key}"'] if key else []
    _run([str(program), "traces", "--otlp-insecure", "--batch=false", "--otlp-endpoint", endpoint, *header, *arguments])


@contextmanager
def collector(program: Path, *, exporter: Mapping[str, object], folder: Path) -> Iterator[dict[str, str]]:
    """A real OpenTelemetry Collector that batches and forwards with `exporter` (name → settings).

    Yields its own doors as HOST:PORT, by protocol. At the end it is asked to drain, and must.
    """
    doors = {"grpc": f"127.0.0.1:{free_port()}", "http": f"127.0.0.1:{free_port()}"}
    config = {
        "receivers": {"otlp": {"protocols": {name: {"endpoint": address} for name, address in doors.items()}}},
        "processors": {"batch": {"timeout": "200ms", "send_batch_size": 512}},
        "exporters": exporter,
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "processors": ["batch"], "exporters": list(exporter)}},
        },
    }
    path = folder / "otelcol.json"  # JSON is YAML.
    path.write_text(json.dumps(config), encoding="utf-8")
    log = folder / "otelcol.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, "--config", path], stdout=output, stderr=output)
        try:
            for address in doors.values():
                wait_until_open(address, process=process, log=log)
            yield doors
            process.send_signal(signal.SIGTERM)
            assert process.wait(PEER_S) == 0, log.read_text(encoding="utf-8")[-4000:]
        finally:
            process.kill()
            process.wait()


def to_spanward(served: Served, protocol: str) -> dict[str, object]:
    """The Collector's exporter for one of Spanward's doors: gzip, the key as a header, patient retries."""
    shared = {
        "compression": "gzip",
        "headers": {"authorization": f"Bearer {served.agent_key}"},
        "retry_on_failure": {"initial_interval": "200ms", "max_interval": "1s", "max_elapsed_time": "0s"},
    }
    if protocol == "grpc":
        address = served.endpoints["otlp_grpc"].rpartition("//")[2]
        return {"otlp_grpc": {**shared, "endpoint": address, "tls": {"insecure": True}}}
    return {"otlp_http": {**shared, "endpoint": served.url("otlp_http")}}


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_open(address: str, *, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once somebody listens on HOST:PORT; raises `AssertionError` with the log if the process ends first."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + PEER_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(encoding="utf-8")[-4000:]
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on {address}\n{log.read_text(encoding='utf-8')[-4000:]}")


def _run(command: list[str], *, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=PEER_S)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
