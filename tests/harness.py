"""A data directory in, a real running Spanward out: what an outsider can start, ask, kill and read.

Only the published contract is used: the command line, `bootstrap.json`, `endpoints.json`, signals and
the ports. So a test written with it stays true whatever the rooms inside look like.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

SPANWARD = Path(sys.executable).with_name("spanward")
START_S = 60
STOP_S = 60

# Each door, the setting of its address, and the name `endpoints.json` gives it.
DOORS = {
    "otlp_http": "receivers.otlp.protocols.http.endpoint",
    "otlp_grpc": "receivers.otlp.protocols.grpc.endpoint",
    "control": "extensions.control.endpoint",
    "control_grpc": "extensions.control.grpc_endpoint",
    "health": "extensions.health_check.endpoint",
    "metrics": "service.telemetry.metrics.endpoint",
}


class Served:
    """One `spanward serve` on `data`. It keeps its addresses over restarts, as its clients expect.

    `settings` are passed as `--set key=value`; `config` as `--config`.
    """

    def __init__(self, data: Path, *, settings: Mapping[str, str] | None = None, config: Path | None = None) -> None:
        self.data = data
        self.log = data.with_name(f"{data.name}.log")
        self.endpoints: dict[str, str] = {}
        self._settings = {**dict.fromkeys(DOORS.values(), "127.0.0.1:0"), **(settings or {})}
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Served":
        """Start and wait until the doors are open; raises `AssertionError` with the log if they do not open."""
        announced = self.data / "endpoints.json"
        announced.unlink(missing_ok=True)
        command = [str(SPANWARD), "serve", "--data", str(self.data)]
        command += ["--config", str(self._config)] if self._config else []
        for key, value in self._settings.items():
            command += ["--set", f"{key}={value}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=_environment()
            )
        # The first start writes both, in no promised order.
        self._wait_for(self.data / "bootstrap.json")
        self.endpoints = self._wait_for(announced)
        for door, address in self.endpoints.items():
            if door in DOORS:
                self._settings[DOORS[door]] = address.rpartition("//")[2]
        return self

    @property
    def pid(self) -> int:
        """The process that holds the doors."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def bootstrap(self) -> dict[str, Any]:
        """What the first start wrote for the operator."""
        return json.loads((self.data / "bootstrap.json").read_text(encoding="utf-8"))

    @property
    def agent_key(self) -> str:
        """The key of `default/default/default`."""
        return str(self.bootstrap["agent_key"])

    @property
    def admin_token(self) -> str:
        """The token of the platform administrator."""
        return str(self.bootstrap["admin_token"])

    def url(self, door: str, path: str = "") -> str:
        """The address of a door as an http URL."""
        return f"http://{self.endpoints[door].rpartition('//')[2]}{path}"

    def stop(self) -> None:
        """Ask it to drain and seal, and wait; raises `AssertionError` if it does not end well."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(STOP_S)
        assert code == 0, f"spanward serve ended with {code}\n{self.log_tail()}"

    def kill9(self) -> None:
        """Take away the power: every process of it at once, with no chance to say anything."""
        assert self._process is not None, "not started"
        _kill_tree(self._process)

    def restart(self) -> None:
        """Start again on the same data and the same addresses."""
        self.start()

    def close(self) -> None:
        """End of the test: nothing of it may stay behind. Raises nothing."""
        if self._process is not None:
            _kill_tree(self._process)

    def run(self, *arguments: str) -> str:
        """Another `spanward` command on the same data directory; its standard output."""
        command = [str(SPANWARD), *arguments, "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=STOP_S, env=_environment())
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}\n{self.log_tail()}"
        return done.stdout

    def seal(self) -> None:
        """Return when everything acknowledged so far is booked and sealed."""
        self.run("seal")

    def report(self, name: str, *arguments: str) -> dict[str, Any]:
        """The JSON of `spanward report NAME`: report, completeness, rows."""
        answer: dict[str, Any] = json.loads(self.run("report", name, "--format", "json", *arguments))
        return answer

    def log_tail(self, lines: int = 60) -> str:
        """The end of what it printed and logged."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def _wait_for(self, written: Path) -> dict[str, Any]:
        assert self._process is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            code = self._process.poll()
            assert code is None, f"spanward serve ended with {code} while starting\n{self.log_tail()}"
            try:
                content: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
            except (FileNotFoundError, json.JSONDecodeError):
                time.sleep(0.02)
            else:
                return content
        raise AssertionError(f"spanward serve wrote no {written.name} in {START_S} s\n{self.log_tail()}")


def _environment() -> dict[str, str]:
    """The test's own environment without what would make the server talk to someone else."""
    return {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the process and all below it; they are found first, for an orphan has no parent to find it by."""
    if process.poll() is not None:
        return  # Its number may belong to somebody else by now.
    parent = psutil.Process(process.pid)
    family = [parent, *parent.children(recursive=True)]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    for orphan in family[1:]:
        _wait_until_dead(orphan)


def _wait_until_dead(orphan: psutil.Process) -> None:
    """A zombie holds nothing any more; when init buries it is init's affair."""
    with contextlib.suppress(psutil.NoSuchProcess):
        while orphan.is_running() and orphan.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.005)
