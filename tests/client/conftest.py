"""A stub server and an environment that knows nothing else."""

import os
from collections.abc import Iterator

import pytest
import spanward_client
from spanward_client import Settings

from tests.client import stub as stub_server


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("SPANWARD_")]:
        if name != "SPANWARD_TOOLS":
            monkeypatch.delenv(name)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_HEADERS", raising=False)
    # Tests of the stream switch it on; the others count what they ask.
    monkeypatch.setenv("SPANWARD_FEEDBACK", "off")
    yield
    spanward_client.uninstrument()
    spanward_client.flush()
    spanward_client.close()


@pytest.fixture
def stub() -> Iterator[stub_server.Stub]:
    with stub_server.serving() as server:
        yield server


@pytest.fixture
def settings(stub: stub_server.Stub) -> Settings:
    return Settings(endpoint=stub.url, api_key="key-1", timeout_s=30)


@pytest.fixture
def environment(stub: stub_server.Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANWARD_ENDPOINT", stub.url)
    monkeypatch.setenv("SPANWARD_API_KEY", "key-1")
    monkeypatch.setenv("SPANWARD_TIMEOUT", "30")
