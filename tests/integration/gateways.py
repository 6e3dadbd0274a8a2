"""The settings of docs/gateways in, running gateways out: exactly what users copy, with the ports of the test."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.house.source import ROOT
from tests.integration.peers import free_port, wait_until_open

SETTINGS = ROOT / "docs" / "gateways"
ENVOY = Path(sys.executable).with_name("envoy")


def settings(name: str, folder: Path, ports: Mapping[int, int]) -> Path:
    """A file of docs/gateways with these ports instead of its own; nothing else differs."""
    text = (SETTINGS / name).read_text(encoding="utf-8")
    for its_own, ours in ports.items():
        # In Envoy's words the port follows its name, in nginx' the address.
        text, count = re.subn(rf"(?<=port_value: ){its_own}\b|(?<=127\.0\.0\.1:){its_own}\b", str(ours), text)
        assert count, f"{name} has no port {its_own}"
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@contextmanager
def envoy(folder: Path, *, gate: int, provider: int) -> Iterator[str]:
    """Envoy with docs/gateways/envoy.yaml; yields its URL."""
    port = free_port()
    file = settings("envoy.yaml", folder, {10000: port, 4321: gate, 8080: provider})
    command = [str(ENVOY), "--config-path", str(file), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
    with _running(command, folder / "envoy.log", port) as url:
        yield url


@contextmanager
def nginx(program: Path, folder: Path, *, gate: int, provider: int) -> Iterator[str]:
    """nginx with docs/gateways/nginx.conf; yields its URL."""
    port = free_port()
    file = settings("nginx.conf", folder, {10001: port, 4320: gate, 8080: provider})
    command = [str(program), "-p", str(folder), "-c", str(file), "-g", "daemon off;"]
    with _running(command, folder / "nginx.log", port) as url:
        yield url


@contextmanager
def _running(command: list[str], log: Path, port: int) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            wait_until_open(f"127.0.0.1:{port}", process=process, log=log)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)
