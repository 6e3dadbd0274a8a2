"""`spanward seal` where no collector runs: it does what the next start would do, or says that it could not."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Served

SEAL = "from collector.serve import seal; seal()"
# As if the disk were slow: the work is done, but not within the time there is.
TOO_LATE = """
from collector.pipeline import Booker
drain = Booker.drain
Booker.drain = lambda booker, timeout_s: drain(booker, timeout_s) and False
"""


@pytest.fixture
def stopped(served: Served) -> Path:
    """A data directory that was served once."""
    served.stop()
    return served.data


def run(data: Path, *more: str, before: str = "") -> tuple[int, str]:
    command = [sys.executable, "-c", before + SEAL, "--data", str(data), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stderr


def test_what_could_not_be_sealed_in_time_is_an_error(stopped: Path) -> None:
    code, said = run(stopped, before=TOO_LATE)
    assert code == 1
    assert "Not everything could be booked and sealed" in said
    assert run(stopped) == (0, "")


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_port_of_the_control_endpoint_is_not_needed(stopped: Path, taken_port: int) -> None:
    assert run(stopped, "--set", f"extensions.control.endpoint=127.0.0.1:{taken_port}") == (0, "")


def test_a_stranger_on_the_port_of_the_last_run_is_not_taken_for_the_collector(stopped: Path, taken_port: int) -> None:
    announced = stopped / "endpoints.json"
    announced.write_text(json.dumps(json.loads(announced.read_text()) | {"control": f"http://127.0.0.1:{taken_port}"}))
    assert run(stopped) == (0, "")


def test_a_folder_that_is_no_data_directory_is_left_alone(tmp_path: Path) -> None:
    code, said = run(tmp_path / "dta")
    assert code == 1
    assert "is not a data directory" in said
    assert not (tmp_path / "dta").exists()
