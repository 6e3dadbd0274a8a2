"""The TypeScript example: the real Vercel AI SDK under node, gated by the plain HTTP contract alone."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.client import control as control_server
from tests.client import provider as provider_server
from tests.client.answers import AGENT
from tests.client.control import Control
from tests.client.provider import INPUT, OUTPUT, TEXT, Provider
from tests.tools.install import VERCEL_EXAMPLE


class Receiver:
    """Takes OTLP and keeps its bytes."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.url = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            # The exporter does not say how long its bodies are.
            while size := int(self.rfile.readline(), 16):
                kept.bodies.append(self.rfile.read(size))
                self.rfile.readline()
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name for it.
            """The test's output is not a server log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        kept.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield kept
        server.shutdown()
        thread.join()


@pytest.fixture
def example(tool: Callable[[str], Path], tmp_path: Path) -> Path:
    """The example's files beside its installed packages."""
    packages = tool("vercel-ai")
    for file in VERCEL_EXAMPLE.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    return tmp_path


def run(example: Path, control: Control, provider: Provider, receiver: Receiver) -> "subprocess.CompletedProcess[str]":
    environment = {
        "PATH": os.environ["PATH"],
        "SPANWARD_ENDPOINT": control.url,
        "SPANWARD_API_KEY": "key-1",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": f"{provider.url}/v1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
    }
    command = ["node", "--import", "./tracing.mjs", "agent.mjs"]
    return subprocess.run(
        command, cwd=example, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture
def control() -> Iterator[Control]:
    with control_server.serving() as server:
        yield server


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provider_server.serving() as server:
        yield server


def test_the_example_asks_marks_its_spans_and_settles_whole_and_streamed(
    example: Path, control: Control, provider: Provider, receiver: Receiver
) -> None:
    done = run(example, control, provider, receiver)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [TEXT, TEXT.replace(" ", "")]
    assert [question["max_output_tokens"] for question in control.questions] == [300, 300]
    assert all(question["input_tokens"] >= INPUT for question in control.questions)
    usage = {"input_tokens": INPUT, "output_tokens": OUTPUT}
    assert control.finished == [("hold-1", "settle", usage), ("hold-2", "settle", usage)]
    sent = b"".join(receiver.bodies)
    assert b"spanward.decision.id" in sent
    assert b"dec-1" in sent
    assert b"dec-2" in sent


def test_a_refused_call_of_the_example_is_said_once_with_its_budget(
    example: Path, control: Control, provider: Provider, receiver: Receiver
) -> None:
    control.deny()
    done = run(example, control, provider, receiver)
    assert done.returncode == 1
    assert f"Spanward refused this call: The daily budget of {AGENT}" in done.stderr
    assert "resets at 2026-11-25T00:00:00Z" in done.stderr
    assert (len(control.questions), provider.asked) == (1, [])


def test_nobody_to_ask_means_no_call_in_the_example_too(
    example: Path, control: Control, provider: Provider, receiver: Receiver
) -> None:
    control.open = False
    done = run(example, control, provider, receiver)
    assert done.returncode == 1
    assert "Spanward could not be asked: Not now." in done.stderr
    assert provider.asked == []
